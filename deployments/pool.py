"""The stack's own work pool, and what earlier stacks left in it. Every function is for one moment: when no worker of the pool lives.

Two queues: runs that train, a few at a time so that one machine is not overrun, and looks at the data, which must not wait for them.
The limits are set once, when the pool is made; whoever changes them in the UI is not overruled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contender.errors import UsageError
from deployments.automations import SILENT, WORKING
from deployments.lock import POOL
from deployments.paging import everything

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

LOOKS = "looks"  # the queue of watch/…
LOOKS_AT_ONCE = 4
WAITS_FOR_THE_CLOCK = ("Scheduled", "Late")


def runs_at_once() -> int:
    """How many runs work at the same time: one that waits for its turn or its device is among them, and costs little."""
    return max(4, (os.cpu_count() or 1) // 4)


def prepare(client: SyncPrefectClient, pool: str = POOL) -> None:
    """Makes the pool, or brings it up to date: the interpreter that runs flows is this one."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = job_template()
    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        about = "Runs of `contender up`, on its machine."
        client.create_work_pool(
            WorkPoolCreate(name=pool, type="process", description=about, base_job_template=template)
        )
        client.create_work_queue(LOOKS, work_pool_name=pool, priority=1, concurrency_limit=LOOKS_AT_ONCE)
        queue = client.read_work_queue_by_name("default", work_pool_name=pool)
        client.update_work_queue(queue.id, concurrency_limit=runs_at_once())
        return
    if found.is_paused or found.base_job_template != template:
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=False, base_job_template=template))


def job_template() -> dict[str, Any]:
    """Prefect's, with the engine's command: a worker that is not told it starts another process first, to find it out, for two seconds."""
    from prefect.utilities.processutils import command_to_string
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    command = command_to_string([sys.executable, "-P", "-m", "prefect.engine"])
    template["variables"]["properties"]["command"]["default"] = command
    return template


def refuse_elsewhere(client: SyncPrefectClient, wanted: Iterable[str], pool: str = POOL) -> None:
    """UsageError where one of the wanted deployments is in another pool of this server: it would be taken away from there."""
    wanted = set(wanted)
    for one, flow in _deployments(client, sorted({name.partition("/")[2] for name in wanted})):
        if one.work_pool_name not in (None, pool) and f"{flow}/{one.name}" in wanted:
            raise UsageError(
                f"{flow}/{one.name} is deployed to the work pool {one.work_pool_name!r} of this Prefect server, whose workers run it",
                "Unset PREFECT_API_URL, so that `contender up` has a server of its own; or delete that deployment first.",
            )


def tidy(client: SyncPrefectClient, wanted: Iterable[str], pool: str = POOL) -> tuple[dict[str, UUID], list[str]]:
    """The ids of the wanted deployments of the pool, each on its queue; and the names of others, of an earlier stack, now removed.

    Their runs that have ended stay in the UI.
    """
    from prefect.client.schemas.actions import DeploymentUpdate

    found = {f"{flow}/{one.name}": one for one, flow in _deployments(client, None, pool)}
    kept = {name: found[name].id for name in wanted if name in found}
    others = sorted(set(found) - set(kept))
    for name in others:
        client.delete_deployment(found[name].id)
    for name in kept:
        if name.startswith("watch/") and found[name].work_queue_name != LOOKS:
            client.update_deployment(kept[name], DeploymentUpdate(work_queue_name=LOOKS))
    return kept, others


def settle(client: SyncPrefectClient, pool: str = POOL) -> list[FlowRun]:
    """Says of runs at work that their process is gone, so that the server continues them; these runs."""
    from prefect.states import Crashed

    found = _runs(client, pool, WORKING)
    for run in found:
        client.set_flow_run_state(run.id, Crashed(message=SILENT))
    return found


def forget_missed(client: SyncPrefectClient, pool: str = POOL, now: datetime | None = None) -> list[FlowRun]:
    """Removes what the clock asked for while no worker was there, but the last one for each pipeline; the removed runs.

    A look is never missed: the next one sees all that is there.
    """
    kept: set[UUID | None] = set()
    removed = []
    for run in reversed(_runs(client, pool, WAITS_FOR_THE_CLOCK, before=now or datetime.now(UTC))):
        if not run.auto_scheduled:
            continue
        if run.work_queue_name == LOOKS or run.deployment_id in kept:
            client.delete_flow_run(run.id)
            removed.append(run)
        kept.add(run.deployment_id)
    return removed


def _runs(client: SyncPrefectClient, pool: str, states: Sequence[str], before: datetime | None = None) -> list[FlowRun]:
    """The pool's runs in states of these names, the earliest first."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=list(states))),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=before) if before else None,
    )
    of_pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool]))
    order = FlowRunSort.EXPECTED_START_TIME_ASC
    return everything(client.read_flow_runs, flow_run_filter=wanted, work_pool_filter=of_pool, sort=order)


def _deployments(
    client: SyncPrefectClient, names: list[str] | None, pool: str | None = None
) -> list[tuple[DeploymentResponse, str]]:
    """Deployments with these names, or of this pool, each with its flow's name."""
    from prefect.client.schemas import filters

    named = filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=names)) if names else None
    of_pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[pool])) if pool else None
    found = everything(client.read_deployments, deployment_filter=named, work_pool_filter=of_pool)
    flows = {flow_id: client.read_flow(flow_id).name for flow_id in {one.flow_id for one in found}}
    return [(one, flows[one.flow_id]) for one in found]
