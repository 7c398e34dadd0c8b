"""What the deployments of a pipeline are: `retrain/<name>`, and `watch/<name>` where it looks for new data.

Each holds the pipeline by value, so that a worker needs no YAML, only this package and the places that the pipeline names. The same
declaration goes to a server (deployments/deploy.py) and into a prefect.yaml (deployments/prefectfile.py).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.canonical import digest
from contender.spec import Pipeline

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.actions import DeploymentScheduleCreate

# A module's path: a file's would be imported under a second name.
RETRAIN = "flows.retrain.retrain"
WATCH = "flows.watch.watch"
TAG = "contender"
# A folder of the run's own. Without a step, Prefect copies the worker's folder into it.
PULL_STEPS = [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]


@dataclass(frozen=True)
class Declared:
    """One deployment: everything of it that its pipeline decides. What people set in the UI beside it stays."""

    flow: Flow[Any, Any]
    name: str
    fields: dict[str, Any]
    schedules: list[DeploymentScheduleCreate]

    @property
    def full_name(self) -> str:
        return f"{self.flow.name}/{self.name}"

    @property
    def entrypoint(self) -> str:
        return str(self.fields["entrypoint"])


def declared(pipeline: Pipeline, pool: str) -> Iterator[Declared]:
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions

    from deployments.schedules import retrain_schedules, watch_schedules

    name = pipeline.spec.name
    does = f"Retrains {name} on new data, and promotes what is shown to be better."
    yield _declared(RETRAIN, pipeline, pool, retrain_schedules(pipeline), description=does)
    if pipeline.spec.triggers.new_data is not None:
        one_at_a_time = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
        does = f"Looks for new data of {name}, and starts retrain/{name} when there is enough."
        yield _declared(
            WATCH,
            pipeline,
            pool,
            watch_schedules(pipeline),
            description=does,
            concurrency_limit=1,  # looks that were due while no worker ran do not all follow when one comes back
            concurrency_options=one_at_a_time,
        )


def _declared(
    entrypoint: str, pipeline: Pipeline, pool: str, schedules: list[DeploymentScheduleCreate], **more: Any
) -> Declared:
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow: Flow[Any, Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    fields = {
        "entrypoint": entrypoint,
        "version": flow.version,  # a digest of the flow's file, as prefect deploy has it
        "pull_steps": PULL_STEPS,
        "work_pool_name": pool,
        "tags": [TAG],
        "parameters": {"spec": pipeline.model_dump(mode="json")},
        # Nothing is left to be asked for: the UI's quick run would open a form of the whole spec.
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi() | {"required": []},
        "enforce_parameter_schema": True,
        "job_variables": {"env": _environment()},
    }
    return Declared(flow, pipeline.spec.name, fields | more, schedules)


def _environment() -> dict[str, str]:
    """A run's environment beside its worker's. The UI shows it: no secrets."""
    from deployments.automations import HEARTBEAT_SECONDS

    return {
        "PYTHONSAFEPATH": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "DO_NOT_TRACK": "1",
    }


def origin(path: Path) -> str:
    """Which file of which machine a deployment came from, so that a pipeline that has another name now is known again.

    A digest: the server is told no paths and hosts. A container's host name is its own, so that one never takes another's for its
    own, although both have their file at the same path.
    """
    identity = ""
    with suppress(OSError):
        identity = Path("/etc/machine-id").read_text().strip()
    return digest([identity, socket.gethostname(), str(path.resolve())])[:16]
