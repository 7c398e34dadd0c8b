"""`contender deploy`: a pipeline as a deployment of an existing Prefect server, continued by itself where it crashes.

A deployment holds its pipeline by value, so that a worker needs no YAML, only this package and the places that the pipeline names.
Folders among them are those of the workers' machines: with a pool of process workers on this machine they are this one's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contender.canonical import Record
from contender.errors import UsageError
from contender.loading import load_pipeline
from contender.spec import Pipeline
from deployments.environment import chosen_api

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation

ENTRYPOINT = "flows.retrain.retrain"  # a module's path: a file's would be imported under a second name
POOL_TYPE = "process"
# A folder of the run's own. Without a step, Prefect copies the worker's folder into it.
PULL_STEPS = [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]


class Deployed(Record):
    """What `deploy` made or found for one pipeline."""

    pipeline: str
    deployment: str
    id: str
    pool: str
    automations: tuple[str, ...]
    changed: bool


def deploy(paths: Sequence[Path], pool: str) -> list[Deployed]:
    """Creates or updates a deployment for each pipeline; nothing is touched where one of them, the server or the pool is wrong."""
    pipelines = [load_pipeline(path) for path in paths]
    names = [pipeline.spec.name for pipeline in pipelines]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{names.count(name)} of these pipelines are named {name!r}", "A deployment has one.")
    if chosen_api(os.environ) is None:
        raise UsageError(
            "no Prefect server is chosen, and the background one ends itself when it is idle",
            "Set PREFECT_API_URL to a server that stays, such as that of: prefect server start",
        )
    from prefect.client.orchestration import get_client

    from deployments.embedded import about_the_server

    with about_the_server(), get_client(sync_client=True) as client:
        _check_pool(client, pool)
        return [_deploy(client, pipeline, pool) for pipeline in pipelines]


def _check_pool(client: SyncPrefectClient, pool: str) -> None:
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        advice = f"Make it: prefect work-pool create --type {POOL_TYPE} {pool}"
        raise UsageError(f"the Prefect server has no work pool {pool!r}", advice) from None
    if found.type != POOL_TYPE:
        raise UsageError(
            f"the work pool {pool!r} is of type {found.type!r}, whose workers do not share this machine's folders",
            f"Give a pool of type {POOL_TYPE} by --pool NAME.",
        )


def _deploy(client: SyncPrefectClient, pipeline: Pipeline, pool: str) -> Deployed:
    from flows.retrain import retrain

    name = pipeline.spec.name
    wanted = deployment_fields(pipeline, pool)
    deployment_id, changed = _upsert(client, client.create_flow(retrain), name, wanted)
    automations, moved = _automate(client, deployment_id, pipeline)
    return Deployed(
        pipeline=name,
        deployment=f"{retrain.name}/{name}",
        id=str(deployment_id),
        pool=pool,
        automations=automations,
        changed=changed or moved,
    )


def deployment_fields(pipeline: Pipeline, pool: str) -> dict[str, Any]:
    """Everything of the deployment that the pipeline decides; what people set in the UI beside it stays."""
    from prefect.utilities.callables import parameter_schema

    from flows.retrain import retrain

    return {
        "entrypoint": ENTRYPOINT,
        "pull_steps": PULL_STEPS,
        "work_pool_name": pool,
        "description": f"Retrains {pipeline.spec.name} on new data, and promotes what is shown to be better.",
        "tags": ["contender"],
        "parameters": {"spec": pipeline.model_dump(mode="json")},
        "parameter_openapi_schema": parameter_schema(retrain).model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "job_variables": {"env": _environment()},
    }


def _environment() -> dict[str, str]:
    """A run's environment beside its worker's. The UI shows it: no secrets."""
    from deployments.automations import HEARTBEAT_SECONDS

    return {
        "PYTHONSAFEPATH": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "DO_NOT_TRACK": "1",
    }


def _upsert(client: SyncPrefectClient, flow_id: UUID, name: str, wanted: dict[str, Any]) -> tuple[UUID, bool]:
    """The deployment, made or brought up to date, and whether that changed anything. Its schedules stay as they are."""
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_deployment_by_name(f"retrain/{name}")
    except ObjectNotFound:
        return client.create_deployment(flow_id, name, **wanted), True
    if all(getattr(found, field) == value for field, value in wanted.items()):
        return found.id, False
    client.update_deployment(found.id, DeploymentUpdate(**wanted))
    return found.id, True


def _automate(client: SyncPrefectClient, deployment_id: UUID, pipeline: Pipeline) -> tuple[tuple[str, ...], bool]:
    """The automations' names, and whether any changed. One that fits is left alone: a new trigger forgets what runs it watches."""
    from deployments.automations import automations

    recovers = pipeline.spec.resources.max_recoveries > 0
    changed, names = False, []
    for wanted in automations(deployment_id, pipeline.spec.name):
        same = client.read_automations_by_name(wanted.name)
        fitting = [one for one in same if recovers and _fits(one, wanted)][:1]
        if recovers:
            names.append(wanted.name)
            if not fitting:
                client.create_automation(wanted)
                changed = True
        for one in same:
            if one not in fitting:
                client.delete_automation(one.id)
                changed = True
    return tuple(names), changed


def _fits(found: Automation, wanted: Any) -> bool:
    def shape(one: Any) -> Any:
        kept = one.model_dump(mode="json", include={"name", "description", "enabled", "trigger", "actions"})
        kept["trigger"] = {
            key: sorted(v) if isinstance(v, list) else v for key, v in kept["trigger"].items() if key != "id"
        }
        return kept

    return bool(shape(found) == shape(wanted))
