"""What `contender deploy` leaves on a real server, and that the flow takes what a deployment gives it."""

from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import PIPELINE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameters_to_args_kwargs

from contender.loading import load_pipeline
from contender.spec import Pipeline
from deployments.cli import main
from deployments.deploy import ENTRYPOINT, deployment_fields
from flows.retrain import retrain

AUTOMATIONS = {
    "continue a run that crashed",
    "begin again what never began",
    "notice a run whose machine is gone",
    "end a run that was being cancelled",
}


@pytest.fixture
def path(tmp_path: Path, tiny_base: Path) -> Path:
    """A pipeline with a name of its own: the server is shared."""
    text = PIPELINE.format(base=tiny_base).replace("name: desk", f"name: desk-{secrets.token_hex(4)}")
    (tmp_path / "desk.yaml").write_text(text)
    return tmp_path / "desk.yaml"


@pytest.fixture
def client(prefect_server: object) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def pool(client: SyncPrefectClient) -> str:
    return client.create_work_pool(WorkPoolCreate(name=f"pool-{secrets.token_hex(4)}", type="process")).name


def deploy(path: Path, pool: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["deploy", str(path), "--pool", pool, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def automations(client: SyncPrefectClient, name: str) -> dict[str, Any]:
    """What follows the deployment's name → the automation."""
    found = [one for one in client.read_automations(limit=200) if one.name.startswith(f"{name}: ")]
    assert len(found) == len({one.name for one in found}), "no automation is there twice"
    return {one.name.removeprefix(f"{name}: "): one for one in found}


def test_a_pipeline_is_deployed_by_value_with_a_module_for_an_entrypoint(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = load_pipeline(path)
    (made,) = deploy(path, pool, capsys)["deployments"]
    assert (made["deployment"], made["pool"], made["changed"]) == (f"retrain/{pipeline.spec.name}", pool, True)
    found = client.read_deployment(made["id"])
    assert (found.entrypoint, found.work_pool_name) == ("flows.retrain.retrain", pool)
    assert Pipeline.model_validate(found.parameters["spec"]) == pipeline
    assert found.parameters["spec"]["suite"], "the suite is in it too"
    assert found.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert found.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]
    assert set(automations(client, pipeline.spec.name)) == AUTOMATIONS
    run = client.create_flow_run_from_deployment(found.id)
    assert run.parameters == found.parameters, "the server takes them by the flow's schema"


def test_deploying_twice_changes_nothing(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    name = load_pipeline(path).spec.name
    first = deploy(path, pool, capsys)["deployments"][0]
    before = client.read_deployment(first["id"]), automations(client, name)
    second = deploy(path, pool, capsys)["deployments"][0]
    assert second == first | {"changed": False}
    assert (client.read_deployment(first["id"]), automations(client, name)) == before


def test_an_edited_pipeline_changes_its_deployment_and_leaves_what_others_set(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = load_pipeline(path)
    first = deploy(path, pool, capsys)["deployments"][0]
    daily = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=86400), active=False)
    client.create_deployment_schedules(first["id"], [daily])
    before = automations(client, pipeline.spec.name)
    path.write_text(path.read_text().replace("epochs: 6", "epochs: 7"))
    second = deploy(path, pool, capsys)["deployments"][0]
    assert (second["id"], second["changed"]) == (first["id"], True)
    found = client.read_deployment(first["id"])
    assert found.parameters["spec"]["spec"]["train"]["epochs"] == 7
    assert len(found.schedules) == 1
    assert automations(client, pipeline.spec.name) == before, "runs that they watch go on being watched"


def test_a_pipeline_without_recoveries_has_no_automations(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    name = load_pipeline(path).spec.name
    deploy(path, pool, capsys)
    assert automations(client, name)
    path.write_text(path.read_text() + "resources: {max_recoveries: 0}\n")
    assert deploy(path, pool, capsys)["deployments"][0]["automations"] == []
    assert automations(client, name) == {}


def test_an_automation_that_somebody_changed_is_put_right(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    name = load_pipeline(path).spec.name
    deploy(path, pool, capsys)
    (one, *_) = automations(client, name).values()
    client.request("PATCH", "/automations/{id}", path_params={"id": one.id}, json={"enabled": False})
    assert not automations(client, name)[one.name.removeprefix(f"{name}: ")].enabled
    assert deploy(path, pool, capsys)["deployments"][0]["changed"] is True
    assert all(found.enabled for found in automations(client, name).values())


def test_the_parameters_of_a_deployment_bind_to_its_flow(path: Path) -> None:
    flow = load_flow_from_entrypoint(ENTRYPOINT, use_placeholder_flow=False)
    assert flow.fn is retrain.fn
    parameters = deployment_fields(load_pipeline(path), "any")["parameters"]
    assert parameters
    args, kwargs = parameters_to_args_kwargs(flow.fn, flow.validate_parameters(parameters | {"trigger": "manual"}))
    bound = inspect.signature(flow.fn).bind(*args, **kwargs)
    assert bound.arguments["spec"] == load_pipeline(path)


@pytest.mark.parametrize(
    ("kind", "what", "fix"),
    [
        (None, "has no work pool", "prefect work-pool create --type process"),
        ("docker", "is of type 'docker'", "--pool NAME"),
    ],
)
def test_a_pool_that_cannot_run_it_is_refused_and_nothing_is_made(
    path: Path,
    client: SyncPrefectClient,
    capsys: pytest.CaptureFixture[str],
    kind: str | None,
    what: str,
    fix: str,
) -> None:
    pool = f"pool-{secrets.token_hex(4)}"
    if kind:
        client.create_work_pool(WorkPoolCreate(name=pool, type=kind))
    document = deploy(path, pool, capsys, code=2)
    assert what in document["error"]["what"]
    assert fix in document["error"]["fix"]
    assert automations(client, load_pipeline(path).spec.name) == {}


@pytest.mark.usefixtures("prefect_server")
def test_two_pipelines_of_one_name_are_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(path), str(path)]) == 2
    assert "2 of these pipelines are named" in capsys.readouterr().err


def test_no_server_is_chosen_by_itself(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    document = deploy(path, "any", capsys, code=2)
    assert "no Prefect server is chosen" in document["error"]["what"]


@pytest.mark.usefixtures("prefect_server")
def test_a_server_that_is_not_there_and_one_that_does_not_know_us_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.context import refresh_global_settings_context

    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "somebody:else")
    refresh_global_settings_context()
    assert "it does not know you" in deploy(path, "any", capsys, code=2)["error"]["what"]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    refresh_global_settings_context()
    assert "http://127.0.0.1:9/api does not answer" in deploy(path, "any", capsys, code=1)["error"]["what"]
