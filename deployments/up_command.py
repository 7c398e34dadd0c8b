"""`contender up PIPELINE…`: server, worker, schedules, new-data watcher and webhook gateway on one machine, until Ctrl-C."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contender import stopping
from contender.errors import UsageError
from contender.loading import load_pipeline
from contender.records import digest
from contender.secretref import resolve
from contender.spec import Pipeline
from deployments.environment import chosen_api
from deployments.home import Home, ServerFailed, is_port, write_private
from deployments.lock import POOL, StackFiles
from deployments.screen import Places, Screen, hook
from deployments.server import ServerInfo, client_environment, ensure_server, leave_server, sign_in_url
from deployments.stack import Part, Stack
from deployments.terminal import console
from deployments.watching import RETRAIN, WATCH, Watch, Watched

LOOK_SECONDS = 0.25
SERVER_SECONDS = 2.0  # between looks at whether the background server lives
POLL_SECONDS = "0.5"  # between the worker's questions for runs: a webhook's run is to start within seconds


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    paths: tuple[Path, ...]
    port: int | None = None
    public_url: str | None = None


def up(wanted: Wanted) -> dict[str, Any]:
    """Runs the stack until somebody asks it to end; what happened, as the command's document."""
    pipelines = load_all(wanted.paths)
    _check_address(wanted)
    began, screen, files = time.monotonic(), Screen(console()), StackFiles.of()
    names = [one.spec.name for one in pipelines]
    with stopping.stoppable(), files.held(names, screen.tell) as lock, _server(screen) as server:
        stopping.check()
        pool = POOL if server else shared_pool()
        watch = Watch(_deployed(wanted.paths, pipelines, pool, screen), screen.tell)
        stopping.check()
        stack = Stack(_parts(wanted, pipelines, pool, files, lock, screen), screen.tell)
        places = _places(server, pool, stack)
        _serve(stack, watch, screen, places, Keeper(server, places, screen))
        by = stopping.interrupted().what
    return {
        "outcome": "done",
        "message": by,
        "seconds": round(time.monotonic() - began, 1),
        "server": {"ui_url": places.ui, "pid": server.pid if server else None},
        "pool": places.pool,
        "gateway": places.gateway.url if places.gateway else None,
        "restarts": {part.name: part.restarts for part in stack.parts},
        "pipelines": [_told(one) for one in watch.watched],
        "runs": watch.counts,
    }


def _told(one: Watched) -> dict[str, Any]:
    seen = one.seen
    return {
        "pipeline": one.name,
        "deployments": {flow: str(id_) for flow, id_ in one.deployments.items()},
        "hook": hook(one.pipeline) if one.pipeline.spec.triggers.webhook else None,
        "champion": seen.champion,
        "last": {"state": seen.last.state, "at": seen.last.at.isoformat()} if seen.last else None,
    }


def load_all(paths: Sequence[Path]) -> list[Pipeline]:
    """The pipelines, and that their webhooks' secrets are there; UsageError with what is wrong with all of them."""
    pipelines, faults = [], []
    for path in paths:
        try:
            pipeline = load_pipeline(path)
            for reference in pipeline.spec.triggers.webhook.secrets if pipeline.spec.triggers.webhook else ():
                resolve(reference, Path(pipeline.folder), f"{path}: a secret of triggers.webhook")
            pipelines.append(pipeline)
        except UsageError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise UsageError("\n".join(str(fault) for fault in faults))
    names = [pipeline.spec.name for pipeline in pipelines]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"several of these pipelines are named {', '.join(twice)}", "Each needs a name of its own.")
    return pipelines


def _check_address(wanted: Wanted) -> None:
    if wanted.public_url is not None:
        parts = urlsplit(wanted.public_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--public-url {wanted.public_url!r} is no URL", "Such as https://hooks.example.com/base")
    if wanted.port is not None:
        if not is_port(wanted.port):
            raise UsageError(f"--port {wanted.port} is no port", "1 to 65535; without --port a free one is taken.")
        if not _is_free(wanted.port):
            raise UsageError(f"port {wanted.port} is taken", "Give another --port, or none: then a free one is taken.")


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def shared_pool() -> str:
    """The stack's pool on a server that others may use: one for each user and home of a machine."""
    whose = f"{socket.gethostname()}\n{os.getuid()}\n{Home.of().folder}"
    return f"{POOL}-{digest(whose)[:8]}"


@contextmanager
def _server(screen: Screen) -> Iterator[ServerInfo | None]:
    """The server of the user's settings, None, or the background one, which this process uses meanwhile and leaves at the end."""
    chosen = chosen_api(os.environ)
    if chosen:
        screen.tell(f"using the Prefect server that your settings name: {chosen}")
        yield None
        return
    screen.tell("starting the Prefect server")
    info = ensure_server()
    os.environ.update(client_environment(info))
    try:
        yield info
    finally:
        screen.tell(
            "the Prefect server ended" if leave_server(info.home) else "the Prefect server stays: others use it"
        )


def _deployed(paths: Sequence[Path], pipelines: Sequence[Pipeline], pool: str, screen: Screen) -> list[Watched]:
    """Deploys the pipelines, to a pool of the stack's own that holds nothing else."""
    from prefect.client.orchestration import get_client

    from deployments import pool as pools
    from deployments.deploy import deploy
    from deployments.embedded import about_the_server

    wanted = {f"{RETRAIN}/{one.spec.name}" for one in pipelines}
    wanted |= {f"{WATCH}/{one.spec.name}" for one in pipelines if one.spec.triggers.new_data}
    with about_the_server(), get_client(sync_client=True) as client:
        pools.refuse_elsewhere(client, wanted, pool)
        pools.prepare(client, pool)
        for one in deploy(paths, pool):
            screen.tell(f"{one.deployment}: {'deployed' if one.changed else 'as it was'}")
            for warning in one.warnings:
                screen.tell(f"! {warning}")
        ids, others = pools.tidy(client, wanted, pool)
        missed = [run for run in pools.forget_missed(client, pool) if run.work_queue_name != pools.LOOKS]
    for name in others:
        screen.tell(f"{name}, of an earlier `contender up`, was removed")
    if missed:
        screen.tell(
            f"starts that were missed while nothing ran: {len(missed)} dropped, a pipeline's last one is made up for"
        )
    return [
        Watched(one, {flow: ids[name] for flow in (RETRAIN, WATCH) if (name := f"{flow}/{one.spec.name}") in ids})
        for one in pipelines
    ]


def _parts(
    wanted: Wanted, pipelines: Sequence[Pipeline], pool: str, files: StackFiles, lock: int, screen: Screen
) -> list[Part]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1"}
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": POLL_SECONDS}

    def settle() -> None:
        from prefect.client.orchestration import get_client

        from deployments import pool as pools

        with get_client(sync_client=True) as client:
            for run in pools.settle(client, pool):
                screen.tell(f"{run.name} was left alone; the server continues it")

    def gateway_arguments() -> list[str]:
        port = wanted.port or free_port(files)
        write_private(files.port, str(port))
        gateway.url = f"http://127.0.0.1:{port}"
        public = ["--public-url", wanted.public_url] if wanted.public_url else []
        return ["--port", str(port), "--journal", str(files.journal), *public]

    worker = Part("worker", "deployments.worker", files.log("worker"), environment, lock, before=settle)
    worker.arguments = lambda: (pool, "up")
    gateway = Part("gateway", "deployments.gateway", files.log("gateway"), environment, lock)
    gateway.arguments = gateway_arguments
    return [worker, gateway] if any(one.spec.triggers.webhook for one in pipelines) else [worker]


def free_port(files: StackFiles) -> int:
    """The last port where that is free, so that senders keep finding it; else another."""
    with suppress(OSError, ValueError):
        last = int(files.port.read_text())
        if is_port(last) and _is_free(last):
            return last
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _serve(stack: Stack, watch: Watch, screen: Screen, places: Places, keeper: Keeper) -> None:
    """All of it, from the first start to the last end; the second Ctrl-C ends it at once."""
    try:
        stack.start()
        watch.start()
        with screen.shown(places, watch.watched):
            while not stopping.asked():
                stack.look()
                keeper.look()
                screen.draw(places, watch.watched, watch.fault)
                time.sleep(LOOK_SECONDS)
            screen.ends(
                "ending: runs under way write a checkpoint and go on at the next start; Ctrl-C again ends at once"
            )
            stack.end(lambda: screen.draw(places, watch.watched, watch.fault))
    finally:
        watch.close()
        stack.close()
    if stopping.asked():
        screen.tell(f"all parts ended{_counted(watch)}")


def _counted(watch: Watch) -> str:
    ended = ", ".join(f"{count} {state}" for state, count in sorted(watch.counts.items()))
    return f"; runs that ended meanwhile: {ended}" if ended else ""


class Keeper:
    """Starts the background server again where it died."""

    def __init__(self, server: ServerInfo | None, places: Places, screen: Screen) -> None:
        self._server, self._places, self._screen = server, places, screen
        self._due = time.monotonic() + SERVER_SECONDS

    def look(self) -> None:
        if self._server is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SERVER_SECONDS
        if Home(self._server.home).is_alive():
            return
        again = ensure_server(self._server.home, wait=False)
        self._screen.tell(f"the Prefect server had ended and was started again (process {again.pid})")
        if again.url != self._server.url:
            raise ServerFailed(
                f"the Prefect server had to leave {self._server.ui_url}, which something else has taken",
                "Run the same command again.",
            )
        self._server, self._places.server = again, f"process {again.pid}"


def _places(server: ServerInfo | None, pool: str, stack: Stack) -> Places:
    if server:
        return Places(server.ui_url, f"process {server.pid}", sign_in_url(server), pool, *stack.parts)
    url = chosen_api(os.environ) or ""
    return Places(url.removesuffix("/api"), "of your settings", "", pool, *stack.parts)
