"""A prefect.yaml says what `contender deploy` does: the one that is checked in, and any that --write gives."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from deployed import automations, deploy, pipeline_file
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameters_to_args_kwargs

from contender.errors import UsageError
from contender.loading import load_pipeline
from contender.spec import Pipeline
from deployments.cli import main
from deployments.docs import ROOT, prefect_file
from deployments.prefectfile import FOLDER, prefect_yaml

SCHEDULES = """\
schedule:
  - {name: nightly, cron: 0 3 * * mon-fri, timezone: Europe/Berlin}
  - {name: often, interval: 6h, anchor: 2026-01-01T09:00:00+01:00, paused: true}
  - {name: monthly, rrule: "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=2", timezone: Asia/Kathmandu}
"""
TRIGGERS = "triggers: {new_data: {every: 5m}}\nnotify: {on: [promoted, kept], to: env:SLACK_URL}\n"


def test_the_file_that_is_checked_in_is_fresh() -> None:
    written = (ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8")
    assert written == prefect_file(), "deployments/prefect.yaml is stale: make schema"
    assert str(ROOT) not in written


def test_its_parameters_bind_to_its_flows_and_are_the_ready_pipelines() -> None:
    entries = yaml.safe_load(prefect_file())["deployments"]
    ready = {path.stem: load_pipeline(path) for path in ROOT.glob("pipelines/**/*.yaml")}
    assert {entry["name"] for entry in entries} == set(ready) != set()
    for entry in entries:
        flow: Any = load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)
        spec = entry["parameters"]["spec"]
        spec["folder"] = spec["folder"].replace(f"{{{{ ${FOLDER} }}}}", str(ROOT))
        args, kwargs = parameters_to_args_kwargs(flow.fn, flow.validate_parameters(entry["parameters"]))
        assert inspect.signature(flow.fn).bind(*args, **kwargs).arguments["spec"] == ready[entry["name"]]


def seen(client: SyncPrefectClient, name: str) -> dict[str, Any]:
    """A deployment as the server has it, less what says when and as what it was made."""
    found: DeploymentResponse = client.read_deployment_by_name(name)
    left_out = {"id", "created", "updated", "flow_id", "created_by", "updated_by", "last_polled", "status", "labels"}
    shown = found.model_dump(mode="json", exclude=left_out)
    if shown["global_concurrency_limit"]:
        shown["global_concurrency_limit"] = shown["global_concurrency_limit"]["limit"]
    kept = ("slug", "active", "parameters", "schedule", "max_scheduled_runs")
    # By prefect deploy the UI's quick run asks for what the file already says; only contender deploy can say that nothing is missing.
    shown["parameter_openapi_schema"].pop("required")
    shown["schedules"] = sorted(
        ({key: one[key] for key in kept} for one in shown["schedules"]), key=lambda one: str(one["slug"])
    )
    return shown


def asked_for(client: SyncPrefectClient, names: list[str]) -> list[object]:
    """What the UI's quick run asks for, before it starts a run."""
    return [client.read_deployment_by_name(one).parameter_openapi_schema["required"] for one in names]


def prefect_deploy(folder: Path) -> None:
    """As a team would."""
    command = [str(Path(sys.executable).parent / "prefect"), "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        [*command, "--prefect-file", "prefect.yaml"],
        cwd=folder,
        env=os.environ | {FOLDER: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_prefect_deploy_and_contender_deploy_leave_the_same(
    tmp_path: Path,
    tiny_base: Path,
    pool: str,
    client: SyncPrefectClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = importlib.util.find_spec("flows.watch") is not None
    path = pipeline_file(tmp_path, tiny_base, SCHEDULES + (TRIGGERS if watched else ""))
    name = load_pipeline(path).spec.name
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", str(path), "--pool", pool, "--write", "prefect.yaml"]) == 0
    assert str(tmp_path) not in (tmp_path / "prefect.yaml").read_text()
    prefect_deploy(tmp_path)
    names = [f"retrain/{name}", *([f"watch/{name}"] if watched else [])]
    theirs = {one: seen(client, one) for one in names}
    assert asked_for(client, names) == [["spec"] for _ in names], (
        "why the file's head says to run contender deploy after it"
    )
    assert Pipeline.model_validate(theirs[names[0]]["parameters"]["spec"]) == load_pipeline(path)
    assert len(theirs[names[0]]["schedules"]) == 3

    ids = {one: client.read_deployment_by_name(one).id for one in names}
    deploy(path, pool, capsys)
    assert {one: seen(client, one) for one in names} == theirs
    assert asked_for(client, names) == [[] for _ in names]
    assert {one: client.read_deployment_by_name(one).id for one in names} == ids
    assert automations(client, name), "what no prefect.yaml can say is there now"
    prefect_deploy(tmp_path)
    assert automations(client, name) == {}, "why the file's head says to run contender deploy after it"
    assert {one: seen(client, one) for one in names} == theirs

    for one in ids.values():
        client.delete_deployment(one)
    deploy(path, pool, capsys)
    assert {one: seen(client, one) for one in names} == theirs, "made by Python from nothing, too"


def test_what_prefect_would_take_for_a_placeholder_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    path = pipeline_file(tmp_path, tiny_base, 'evaluate: {slices: ["{{ channel }}"]}\n')
    with pytest.raises(UsageError, match=r"parameters\.spec\.spec\.evaluate\.slices\[0\]"):
        prefect_yaml([path], "any", tmp_path)


def test_a_pipeline_beside_the_folder_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    path = pipeline_file(tmp_path, tiny_base)
    (tmp_path / "below").mkdir()
    with pytest.raises(UsageError, match="does not lie below"):
        prefect_yaml([path], "any", tmp_path / "below")


def test_local_places_are_refused_for_workers_elsewhere(tmp_path: Path, tiny_base: Path) -> None:
    path = pipeline_file(tmp_path, tiny_base)
    with pytest.raises(UsageError, match=r"data\.source is tickets/"):
        prefect_yaml([path], "any", tmp_path, elsewhere=True)


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pipeline_file(tmp_path, tiny_base)
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", str(path), "--write", "desk.yaml/prefect.yaml"]) == 2
    assert "Give another --write FILE." in capsys.readouterr().err
