"""New data on a real server and a real worker: files are dropped, and models come of them, whatever dies or sleeps between."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from desk import Desk, tickets
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from workers import Worker, flow_run, history, until

from contender.loading import load_pipeline
from contender.newdata import Look
from contender.registry import Registry
from contender.store import LocalStore
from flows.watch import watch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


@pytest.fixture
def deployment(desk: Desk) -> UUID:
    text = desk.pipeline.read_text().replace("name: desk", f"name: desk-{secrets.token_hex(4)}")
    desk.pipeline.write_text(f"{text}triggers: {{new_data: {{every: 10s, settle: 1s, min_rows: 200}}}}\n")
    pool = f"pool-{secrets.token_hex(4)}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    ran = desk.run("deploy", str(desk.pipeline), "--pool", pool, "--json")
    assert ran.code == 0, ran.shown
    return UUID(ran.document["deployments"][0]["id"])


@pytest.fixture
def worker(desk: Desk, deployment: UUID) -> Iterator[Worker]:
    with get_client(sync_client=True) as client:
        pool = str(client.read_deployment(deployment).work_pool_name)
    made = Worker.start("w", pool, desk.folder / "w")
    try:
        yield made
    finally:
        made.end()


def look(desk: Desk) -> Look:
    return watch(load_pipeline(desk.pipeline), return_state=True).result()


def ended(worker: Worker, run: str) -> str:
    def seen() -> str | None:
        state = flow_run(UUID(run)).state
        return state.name if state and state.is_final() and not state.is_crashed() else None

    return until("the end", seen, 240, lambda: f"{history(UUID(run))}\n{worker.log[-4000:]}")


def settled(desk: Desk) -> Look:
    """The look once what was dropped rests."""
    return until("a look", lambda: found if (found := look(desk)).outcome != "settling" else None, 60)


def test_dropped_files_become_models_once_each_whatever_happens_between(
    desk: Desk, deployment: UUID, worker: Worker
) -> None:
    desk.drop("1.csv", tickets(300, seed=1, wrong=0.5))
    first = settled(desk)
    assert first.outcome == "started", first
    run = UUID(str(first.flow_run_id))
    until("its work", lambda: "Running" in history(run), 60)
    (engine,) = worker.engines(run)
    engine.kill()
    until("the crash", lambda: "Crashed" in history(run), 60, lambda: f"{history(run)}\n{worker.log[-4000:]}")
    assert look(desk).outcome in ("joined", "busy", "waiting"), "the same run is continued"
    assert ended(worker, str(first.flow_run_id)) == "Promoted", worker.log[-4000:]
    assert look(desk).outcome == "nothing_new"

    # Nobody looks for a while, and no worker lives: what comes meanwhile is one run.
    worker.stop()
    desk.drop("1.csv", tickets(300, seed=1))
    for number in range(2, 6):
        desk.drop(f"{number}.csv", tickets(150, seed=number))
    second = settled(desk)
    assert (second.outcome, second.files) == ("started", 5), second
    desk.drop("6.csv", tickets(210, seed=6))
    assert settled(desk).flow_run_id == second.flow_run_id
    again = Worker.start("again", worker_pool(deployment), desk.folder / "again")
    try:
        assert ended(again, str(second.flow_run_id)) in ("Promoted", "Kept", "Inconclusive"), again.log[-4000:]
        assert look(desk).outcome == "nothing_new", "the run saw what came before it looked"
    finally:
        again.end()
    registry = Registry(LocalStore(Path(desk.registry)), load_pipeline(desk.pipeline).spec.name)
    assert sorted(decision.rows for decision in registry.decisions()) == [300, 1110]
    with get_client(sync_client=True) as client:
        only = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        assert len(client.read_flow_runs(flow_run_filter=only)) == 2


def worker_pool(deployment: UUID) -> str:
    with get_client(sync_client=True) as client:
        return str(client.read_deployment(deployment).work_pool_name)
