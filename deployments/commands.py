"""What the commands on pipelines, servers and workspaces do; those on a registry are in deployments/registry_commands.py.

A command returns its exit code; its document goes to stdout, all else to stderr."""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import Transient, UsageError
from deployments.arguments import actor_of
from deployments.documents import print_document

if TYPE_CHECKING:
    from contender.run import RunResult


def command_run(options: argparse.Namespace) -> int:
    from contender.loading import load_pipeline
    from deployments.loudness import loudness
    from deployments.results import show_result
    from deployments.terminal import console

    pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
    options.name = pipeline.spec.name
    result = _run(options, pipeline)
    show_result(console(), result, loudness(options))
    if options.json:
        print_document(result.model_dump(mode="json"))
    return result.exit_code


def _run(options: argparse.Namespace, pipeline: Any) -> RunResult:
    """Decides at once where nothing is new; else runs the flow on the Prefect server of the environment, or the embedded one."""
    from contender.run import find_decision, open_run, up_to_date
    from contender.stages.data import look
    from deployments.notifying import failures_told_at_once

    # Imports make garbage collections that find nothing: a second or two of a run's start.
    gc.set_threshold(100_000, 20, 100)
    actor = actor_of(options)
    with suppress(Transient), failures_told_at_once(pipeline):  # the flow asks again, and has patience
        run = open_run(pipeline, actor)
        seen = look(run)
        decision = find_decision(run, seen)
        if decision is not None:
            return up_to_date(run, seen, decision)
    from contender.quality import process
    from contender.stopping import stoppable

    with stoppable(), process.ahead():  # the gate's imports pass beside those of Prefect, which come next
        from deployments.embedded import run_flow
        from deployments.loudness import loudness

        return run_flow(pipeline, actor, loudness(options))


def command_init(options: argparse.Namespace) -> int:
    from contender.data.inspect import inspect
    from contender.data.starter import pipeline_name, starter_pipeline
    from contender.files import write_durably
    from contender.loading import validate
    from contender.workspace import translated_os_errors
    from contender.yamlfile import parse_yaml
    from deployments.terminal import console, say

    name = options.name or pipeline_name(options.data)
    target = Path(options.out or f"pipelines/{name}.yaml")
    with translated_os_errors(target, "Give another --out FILE."):
        if target.exists():
            raise UsageError(f"{target} exists already", "Give another --out FILE, or remove it.")
    with translated_os_errors(Path(tempfile.gettempdir()), "Set TMPDIR to a folder that you can write."):
        profile = inspect(options.data, Path.cwd())
    source = _source_from(target, options.data)
    text = starter_pipeline(profile, name, source)
    validate(parse_yaml(text, str(target)))  # nothing is written that no run would take, such as --name ../x
    with translated_os_errors(target, "Give another --out FILE."):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, text.encode())
    out = console()
    say(out, f"wrote {target}: {profile.sentence}")
    say(out, f"next: contender check {target}")
    if options.json:
        print_document(
            {"outcome": "done", "pipeline": name, "path": str(target), "profile": profile.model_dump(mode="json")}
        )
    return 0


def _source_from(target: Path, data: str) -> str:
    """The data's place as the pipeline names it: relative where both lie below the current folder, so that they move together."""
    here = Path.cwd()
    path = Path(os.path.abspath(data))  # noqa: PTH100 - `resolve` would follow links, and a glob is no file
    if "://" in data or not path.is_relative_to(here) or not target.resolve().is_relative_to(here):
        return data if "://" in data else str(path)
    return os.path.relpath(path, target.resolve().parent)


def command_check(options: argparse.Namespace) -> int:
    from contender.check import check
    from contender.loading import load_pipeline
    from contender.stopping import stoppable
    from deployments.terminal import console, say, show_table

    pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
    with stoppable() if options.probe else nullcontext():
        plan = check(pipeline, probe=options.probe)
    out = console()
    show_table(out, ("what", "value"), plan.lines())
    for warning in plan.warnings:
        say(out, f"! {warning}", style="yellow")
    tried: dict[str, Any] = {}
    if options.notify:
        from deployments.notifying import show_tried, try_out

        tried = {"notified": try_out(pipeline)}
        show_tried(out, tried["notified"])
    failed = any(tried.get("notified", {}).values())
    if options.json:
        print_document({"outcome": "failed" if failed else "done"} | plan.model_dump(mode="json") | tried)
    return 1 if failed else 0


def command_up(options: argparse.Namespace) -> int:
    if options.force and not options.stop:
        raise UsageError("--force goes with --stop", "See: contender up --help")
    if options.stop and options.pipelines:
        raise UsageError("--stop takes no pipelines: it ends all of them", "Run: contender up --stop")
    if not options.pipelines and (options.port is not None or options.public_url is not None):
        raise UsageError("--port and --public-url are of the webhook gateway, which runs with pipelines", "Name some.")
    if options.stop:
        document = _stop(options.force)
    elif options.pipelines:
        from deployments.up_command import Wanted, up

        document = up(Wanted(tuple(Path(name) for name in options.pipelines), options.port, options.public_url))
    else:
        document = _start_server()
    if options.json:
        print_document(document)
    return 0


def _stop(force: bool) -> dict[str, Any]:
    """Ends the stack that runs, and the background server with it."""
    from deployments.lock import StackFiles
    from deployments.server import in_use, stop_server
    from deployments.terminal import console, say

    out = console()
    stack = StackFiles.of().stop(force=force)
    if stack is not None:
        say(out, f"ended `contender up` (process {stack}) and its parts")
    if in_use() and not force:
        raise UsageError("runs are using the Prefect server", "Let them end, or: contender up --stop --force")
    stopped = stop_server() or stack is not None
    say(out, "stopped the Prefect server" if stopped else "no Prefect server was running")
    return {"outcome": "done", "stopped": stopped, "stack": stack}


def _start_server() -> dict[str, Any]:
    from deployments.server import ensure_server, sign_in_url
    from deployments.terminal import console, say

    out, info = console(), ensure_server()
    say(out, f"Prefect UI, signed in: {sign_in_url(info)}")
    say(out, "It ends itself after 30 idle minutes, or by: contender up --stop")
    return {"outcome": "done", "ui_url": info.ui_url, "sign_in_url": sign_in_url(info), "pid": info.pid}


def command_deploy(options: argparse.Namespace) -> int:
    from deployments.deploy import deploy
    from deployments.terminal import console, say

    paths = [Path(name) for name in options.pipelines]
    if options.write:
        return _write_prefect_yaml(options, paths)
    deployed = deploy(paths, options.pool, elsewhere=options.elsewhere)
    out = console()
    for one in deployed:
        say(out, f"{'deployed' if one.changed else 'unchanged'}: {one.deployment}, on the work pool {one.pool}")
        for schedule in one.schedules:
            say(out, f"  schedule {schedule.text}")
        if one.watch:
            say(out, f"  {one.watch} looks for new data every {one.watch_seconds:g} s")
        for gone in one.removed:
            say(out, f"  removed {gone}: this pipeline has it no longer")
        for warning in one.warnings:
            say(out, f"! {warning}", style="yellow")
    say(
        out, f"next: prefect worker start --pool {options.pool}, and: prefect deployment run '{deployed[0].deployment}'"
    )
    if options.json:
        print_document({"outcome": "done", "deployments": [one.model_dump(mode="json") for one in deployed]})
    return 0


def _write_prefect_yaml(options: argparse.Namespace, paths: list[Path]) -> int:
    from contender.files import write_durably
    from contender.workspace import translated_os_errors
    from deployments.prefectfile import FOLDER, prefect_yaml
    from deployments.terminal import console, say

    target = Path(options.write)
    text = prefect_yaml(paths, options.pool, Path.cwd(), elsewhere=options.elsewhere)
    with translated_os_errors(target, "Give another --write FILE."):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, text.encode())
    say(console(), f"wrote {target}; next: {FOLDER}=$PWD prefect --no-prompt deploy --all --prefect-file {target}")
    if options.json:
        print_document({"outcome": "done", "path": str(target)})
    return 0


def command_clean(options: argparse.Namespace) -> int:
    from contender.clean import IN_USE_SECONDS, leftovers, remove
    from contender.lookup import workspace_of
    from deployments.arguments import age
    from deployments.terminal import Column, console, say, show_table

    older_than = age(options.older_than)
    workspace = workspace_of(options.place)
    root = workspace.root
    found = leftovers(root, older_than)
    out = console()
    rows = [
        (str(one.path.relative_to(root)), f"{one.size / 1e6:,.1f}", f"{one.age / 86400:,.1f}", one.why) for one in found
    ]
    size = remove(found) if options.delete else sum(one.size for one in found)
    if found:
        show_table(out, ("what", Column("MB", right=True), Column("days", right=True), "why"), rows)
        say(out, f"{'removed' if options.delete else 'would remove'} {size / 1e6:,.1f} MB in {root}")
    else:
        say(out, f"nothing to remove in {root}: nothing in it is unused for {options.older_than}")
    if older_than < IN_USE_SECONDS:
        say(out, "what was used within the last hour stays, whatever --older-than says")
    if found and not options.delete:
        say(out, "nothing was removed; add --delete to do it")
    if workspace.shared:
        say(
            out,
            f"this is this machine's part; {workspace.shared.url} is best kept small by a lifecycle rule on its prefix",
        )
    if options.json:
        listed = [
            {"path": str(one.path), "bytes": one.size, "seconds": round(one.age), "why": one.why} for one in found
        ]
        print_document({"outcome": "done", "deleted": options.delete, "bytes": size, "found": listed})
    return 0


def command_schema(options: argparse.Namespace) -> int:
    from contender.spec import json_schema

    print_document(json_schema(), indent=2)
    return 0
