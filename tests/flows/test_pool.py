"""The stack's pool on a real server: what an earlier stack left there is tidied up, and nothing that somebody asked for is lost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Running
from workers import until

from contender.errors import UsageError
from deployments import pool as pools
from deployments.automations import SILENT

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow(name="retrain")
def retrain(spec: Any = None) -> None:
    """Stands in for the real one, which need not be imported here."""


@flow(name="watch")
def watch(spec: Any = None) -> None:
    """The same."""


@pytest.fixture
def pool(client: SyncPrefectClient) -> Iterator[str]:
    name = f"pool-{secrets.token_hex(4)}"
    pools.prepare(client, name)
    yield name
    client.delete_work_pool(name)


def deployed(client: SyncPrefectClient, kind: Any, pool: str, **more: Any) -> tuple[str, UUID]:
    name = f"p-{secrets.token_hex(4)}"
    return f"{kind.name}/{name}", client.create_deployment(client.create_flow(kind), name, work_pool_name=pool, **more)


def test_the_pool_is_made_once_and_limits_that_somebody_changed_stay(client: SyncPrefectClient, pool: str) -> None:
    queue = client.read_work_queue_by_name("default", work_pool_name=pool)
    assert queue.concurrency_limit == pools.runs_at_once() >= 4
    client.update_work_queue(queue.id, concurrency_limit=1)
    client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
    pools.prepare(client, pool)
    assert client.read_work_queue_by_name("default", work_pool_name=pool).concurrency_limit == 1
    assert not client.read_work_pool(pool).is_paused
    command = client.read_work_pool(pool).base_job_template["variables"]["properties"]["command"]["default"]
    assert command.endswith(" -P -m prefect.engine")


def test_looks_have_a_queue_of_their_own_and_other_deployments_go(client: SyncPrefectClient, pool: str) -> None:
    kept, kept_id = deployed(client, retrain, pool)
    look, look_id = deployed(client, watch, pool)
    old, _ = deployed(client, retrain, pool)
    assert pools.tidy(client, [kept, look, "watch/not-there"], pool) == ({kept: kept_id, look: look_id}, [old])
    assert client.read_deployment(look_id).work_queue_name == pools.LOOKS
    assert client.read_deployment(kept_id).work_queue_name == "default"
    assert pools.tidy(client, [kept, look], pool)[1] == []


def test_a_pipeline_that_another_pool_runs_is_not_taken_away(client: SyncPrefectClient, pool: str) -> None:
    name, _ = deployed(client, retrain, pool)
    pools.refuse_elsewhere(client, [name, "retrain/never-deployed"], pool)
    with pytest.raises(UsageError, match=f"{name} is deployed to the work pool '{pool}'"):
        pools.refuse_elsewhere(client, [name], "another")


def test_runs_that_nobody_works_on_are_handed_to_the_server(client: SyncPrefectClient, pool: str) -> None:
    _, deployment = deployed(client, retrain, pool)
    waiting, working = (client.create_flow_run_from_deployment(deployment) for _ in range(2))
    client.set_flow_run_state(working.id, Running(), force=True)
    assert [run.id for run in pools.settle(client, pool)] == [working.id]
    state = client.read_flow_run(working.id).state
    assert state and state.is_crashed() and state.message == SILENT
    assert client.read_flow_run(waiting.id).state_name == "Scheduled"
    assert pools.settle(client, pool) == []


def test_of_missed_starts_the_last_is_made_up_for_and_looks_are_dropped(client: SyncPrefectClient, pool: str) -> None:
    each_minute = [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(minutes=1)))]
    _, deployment = deployed(client, retrain, pool, schedules=each_minute)
    _, look_id = deployed(client, watch, pool, schedules=each_minute, work_queue_name=pools.LOOKS)
    by_hand = client.create_flow_run_from_deployment(deployment)

    def by_the_clock(of: UUID) -> list[datetime]:
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[of]))
        runs = client.read_flow_runs(flow_run_filter=wanted)
        return sorted(run.expected_start_time for run in runs if run.auto_scheduled and run.expected_start_time)

    until("the server's scheduler", lambda: by_the_clock(deployment) and by_the_clock(look_id), 30)
    before = by_the_clock(deployment)
    later = before[0] + timedelta(minutes=3.5)  # as if nothing had run until then
    removed = pools.forget_missed(client, pool, now=later)
    assert {run.deployment_id for run in removed} == {deployment, look_id}
    assert by_the_clock(deployment) == before[3:], "the last of four is made up for"
    assert min(by_the_clock(look_id)) > later
    assert client.read_flow_run(by_hand.id).state_name == "Scheduled"
