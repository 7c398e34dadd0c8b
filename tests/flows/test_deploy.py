"""What `contender deploy` leaves on a real server, and that the flow takes what a deployment gives it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from deployed import automations, deploy, pipeline_file
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameters_to_args_kwargs

from contender.loading import load_pipeline
from contender.spec import Pipeline
from deployments.automations import NOT_AT_WORK
from deployments.cli import main
from deployments.declared import declared
from flows.states import LOOK_FAILED, LOOKS, NAMES

AUTOMATIONS = {
    "continue a run that crashed",
    "begin again what never began",
    "notice a run whose machine is gone",
    "end a run that was being cancelled",
}


@pytest.fixture
def path(tmp_path: Path, tiny_base: Path) -> Path:
    return pipeline_file(tmp_path, tiny_base)


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
    assert found.parameter_openapi_schema["required"] == [], "the UI's quick run asks for nothing"
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


def test_an_edited_pipeline_changes_its_deployment(
    path: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = load_pipeline(path)
    first = deploy(path, pool, capsys)["deployments"][0]
    before = automations(client, pipeline.spec.name)
    path.write_text(path.read_text().replace("epochs: 6", "epochs: 7"))
    second = deploy(path, pool, capsys)["deployments"][0]
    assert (second["id"], second["changed"]) == (first["id"], True)
    found = client.read_deployment(first["id"])
    assert found.parameters["spec"]["spec"]["train"]["epochs"] == 7
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


def test_the_parameters_of_every_deployment_bind_to_its_flow(path: Path) -> None:
    path.write_text(path.read_text() + "schedule: {cron: 0 3 * * *}\ntriggers: {new_data: {}}\n")
    pipeline, tried = load_pipeline(path), []
    for one in declared(pipeline, "any"):
        flow: Any = load_flow_from_entrypoint(one.entrypoint, use_placeholder_flow=False)
        for schedule in one.schedules:
            given = one.fields["parameters"] | schedule.parameters
            args, kwargs = parameters_to_args_kwargs(flow.fn, flow.validate_parameters(given))
            bound = inspect.signature(flow.fn).bind(*args, **kwargs)
            assert bound.arguments["spec"] == pipeline
            tried.append((one.full_name, schedule.slug))
    assert tried == [(f"retrain/{pipeline.spec.name}", "schedule"), (f"watch/{pipeline.spec.name}", "looks")]


def test_a_pool_that_is_not_there_is_refused_and_nothing_is_made(
    path: Path, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    document = deploy(path, "nowhere", capsys, code=2)
    assert "has no work pool 'nowhere'" in document["error"]["what"]
    assert "prefect work-pool create --type process" in document["error"]["fix"]
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


def test_every_name_that_a_run_can_end_by_is_known_to_what_waits_for_its_heartbeat() -> None:
    finals = {*NAMES.values(), *LOOKS.values(), LOOK_FAILED}
    assert len(finals) > 10
    assert finals <= {event.removeprefix("prefect.flow-run.") for event in NOT_AT_WORK}


def test_a_block_that_the_server_lacks_is_said_when_a_pipeline_is_deployed(
    tmp_path: Path, tiny_base: Path, pool: str, client: SyncPrefectClient, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "notify: {to: [block:secret/there, block:slack-webhook/gone, block:no-such-type/x, env:URL]}\n"
    path = pipeline_file(tmp_path, tiny_base, more)
    Secret(value="http://127.0.0.1:9/s3cr3t").save("there", overwrite=True)
    (made,) = deploy(path, pool, capsys)["deployments"]
    assert [text.split()[2].rstrip(",") for text in made["warnings"]] == [
        "block:slack-webhook/gone",
        "block:no-such-type/x",
    ]
    assert main(["deploy", str(path), "--pool", pool]) == 0
    assert "! notify.to is block:slack-webhook/gone, which this Prefect server does not have" in capsys.readouterr().err
    kept = client.read_deployment(made["id"]).parameters["spec"]["spec"]["notify"]
    assert "s3cr3t" not in str(kept) and kept[0]["to"][3] == "env:URL", "references alone"
