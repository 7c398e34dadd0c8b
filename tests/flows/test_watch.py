"""Looks for new data against a real Prefect server: what starts a run, that it is started once, and what is tried again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from desk import COLOURS, PIPELINE, tickets, write_tickets
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from contender.loading import load_pipeline
from contender.newdata import Around, Look, run_key
from contender.records import Outcome
from contender.run import decide, open_run
from contender.spec import Pipeline
from contender.stages.data import look as look_at_data
from deployments.deploy import deploy
from flows.retrain import retrain
from flows.states import results_kept
from flows.watch import watch
from tasks.turn import Slot, slot_of
from tasks.watch import find_runs, only_look, see, start, weigh

pytestmark = pytest.mark.usefixtures("prefect_server", "gate_here")

TRIGGER = "triggers: {{new_data: {{every: 5m, settle: {settle}, min_rows: {rows}}}}}\n"


@dataclass
class Watched:
    """A deployed pipeline whose data is looked at."""

    path: Path
    deployment: UUID
    client: SyncPrefectClient
    entries: Iterator[int] = field(default_factory=count)

    @property
    def pipeline(self) -> Pipeline:
        return load_pipeline(self.path)

    def drop(self, name: str, rows: int = 240, seed: int = 1) -> Path:
        return write_tickets(self.path.parent / "tickets" / name, tickets(rows, seed))

    def look(self) -> Look:
        with results_kept() as kept:  # a server that was asked twice gives the state back without its data
            state = watch(self.pipeline, return_state=True)
        (found,) = kept
        assert isinstance(found, Look) and state.message == found.message
        return found

    def runs(self) -> list[FlowRun]:
        only = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[self.deployment]))
        return sorted(self.client.read_flow_runs(flow_run_filter=only), key=lambda run: str(run.created))

    def set(self, run: FlowRun, state: State) -> None:
        self.client.set_flow_run_state(run.id, state, force=True)

    def decide(self, outcome: Outcome = "kept") -> None:
        run = open_run(self.pipeline, "tests")
        decide(run, outcome, "decided by a test", snapshot=look_at_data(run), judged_against=next(self.entries))


def watched_pipeline(tmp_path: Path, base: Path, client: SyncPrefectClient, settle: str, rows: int) -> Watched:
    (tmp_path / "tickets").mkdir()
    text = PIPELINE.format(base=base).replace("name: desk", f"name: desk-{secrets.token_hex(4)}")
    path = tmp_path / "desk.yaml"
    path.write_text(text + TRIGGER.format(settle=settle, rows=rows))
    pool = client.create_work_pool(WorkPoolCreate(name=f"pool-{secrets.token_hex(4)}", type="process")).name
    (made,) = deploy([path], pool)
    return Watched(path, UUID(made.id), client)


@pytest.fixture
def watched(tmp_path: Path, tiny_base: Path, client: SyncPrefectClient) -> Watched:
    made = watched_pipeline(tmp_path, tiny_base, client, "0s", 100)
    made.drop("1.csv")
    return made


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of looks so many seconds ahead."""
    ahead = [0.0]
    monkeypatch.setattr("tasks.watch.now", lambda: time.time() + ahead[0])

    def by(seconds: float) -> None:
        ahead[0] = seconds

    return by


@pytest.mark.slow
def test_enough_new_rows_start_a_run_that_decides_and_then_nothing_is_new(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started = watched.look()
    assert (started.outcome, started.files) == ("started", 1)
    assert started.message == "1 file is new (at least 240 rows); a run is started."
    (run,) = watched.runs()
    assert str(run.id) == started.flow_run_id
    assert run.idempotency_key == run_key(watched.pipeline, str(started.snapshot), 0)
    assert (run.parameters["trigger"], run.parameters["settle"]) == ("new data", 0.0)

    given = retrain.validate_parameters(run.parameters)
    state: Any = run_flow(retrain, flow_run=run, parameters=given, return_type="state")
    assert state.name in ("Promoted", "Kept", "Inconclusive"), state
    assert watched.look().outcome == "nothing_new"
    watched.drop("2.csv", rows=40, seed=2)
    few = watched.look()
    assert few.message == "1 file is new (40 rows); a run is started for 100 rows."
    (watched.path.parent / "tickets" / "1.csv").rename(watched.path.parent / "tickets" / "renamed.csv")
    assert watched.look().message == few.message
    watched.drop("2.csv", rows=40, seed=3)
    watched.drop("renamed.csv", rows=80, seed=4)
    assert watched.look().message == "2 files are new and 1 is gone (at least 240 rows); a run is started."
    assert len(watched.runs()) == 2
    assert artifacts_of(watched.client, watched.pipeline.spec.name) == 1


@pytest.mark.slow
def test_a_champion_that_is_worse_on_new_rows_than_its_bound_is_enough(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = watched.path.read_text()
    degradation = "degradation: {bound: 0.8, min_rows: 40}}"
    watched.path.write_text(text.replace("min_rows: 100}}", "min_rows: 100000}, " + degradation))
    assert "degradation" in watched.path.read_text()
    watched.drop("1.csv", rows=600)
    first = retrain(watched.pipeline, trigger="test", return_state=True)
    assert first.name == "Promoted", first
    assert watched.look().outcome == "nothing_new"
    watched.drop("2.csv", rows=60, seed=2)
    assert watched.look().outcome == "not_enough", "the champion is right about them"
    turned = dict(zip(COLOURS, (*COLOURS[1:], COLOURS[0]), strict=True))
    wrong = [(text, turned[label]) for text, label in tickets(150, seed=3)]
    write_tickets(watched.path.parent / "tickets" / "3.csv", wrong)
    look = watched.look()
    assert look.outcome == "started" and "below the bound of 80.0%" in look.message, look
    (run,) = watched.runs()
    assert run.parameters["trigger"] == "degradation"
    assert watched.look().outcome == "joined", "one content, one run"
    watched.set(run, Completed())
    watched.decide()
    assert watched.look().outcome == "nothing_new", "it was decided on, though the champion is as bad as before"


def artifacts_of(client: SyncPrefectClient, name: str) -> int:
    """How many artifacts the looks left that people see; each look that started a run left a version of it."""
    found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_=f"{name}-new-data")))
    return len({artifact.key for artifact in found})


@pytest.mark.slow
def test_a_run_that_goes_on_or_has_yet_to_begin_is_joined(watched: Watched, later: Callable[[float], None]) -> None:
    watched.look()
    (run,) = watched.runs()
    later(10_000)
    joined = watched.look()
    assert (joined.outcome, joined.flow_run_id) == ("joined", str(run.id)), "no worker lives; it will be taken"
    watched.drop("2.csv", seed=2)
    assert watched.look().flow_run_id == str(run.id), "it will see that, too"
    later(0)
    for waits in (Running(), Running(name="Waiting")):
        watched.set(run, waits)
        assert watched.look().flow_run_id == str(run.id), "it has not taken its turn, and so has not looked"
    later(10_000)
    another = watched.look()
    assert (another.outcome, len(watched.runs())) == ("started", 2), "nobody has the turn, and it is dead"


@pytest.mark.slow
def test_what_ended_without_a_decision_is_begun_again_later_and_later(
    watched: Watched, later: Callable[[float], None]
) -> None:
    waits = []
    for n, state in enumerate((Failed(), Crashed(), Cancelled())):
        assert watched.look().outcome == "started"
        run = watched.runs()[-1]
        assert str(run.idempotency_key).endswith(f":{n}")
        watched.set(run, state)
        later(300 * 2**n - 60)
        waiting = watched.look()
        assert waiting.outcome == "waiting"
        waits.append(waiting.message)
        later(300 * 2**n + 1)
    assert "the run that was started for them ended without a decision" in waits[0]
    assert "3 runs that were started for them ended without a decision" in waits[2]
    assert watched.look().outcome == "started"
    watched.set(watched.runs()[-1], Completed(name="Skipped"))
    watched.drop("2.csv", seed=2)
    assert watched.look().outcome == "started", "other data is another matter"
    watched.set(watched.runs()[-1], Completed(name="Skipped"))
    assert watched.look().outcome == "started", "what was skipped is not waited for"


def test_decisions_make_data_known_but_for_superseded_ones(watched: Watched) -> None:
    watched.decide("superseded")
    started = watched.look()
    assert started.outcome == "started"
    watched.set(watched.runs()[0], Failed(name="RejectedData"))
    watched.decide("rejected_data")
    assert watched.look().outcome == "nothing_new"
    (watched.path.parent / "tickets" / "2.jsonl").write_text("this is no JSON\n")
    broken = watched.look()
    assert (broken.outcome, len(watched.runs())) == ("started", 2)
    assert "nobody knows the rows of 2.jsonl" in broken.message
    watched.set(watched.runs()[1], Failed(name="RejectedData"))
    watched.decide("rejected_data")
    assert watched.look().outcome == "nothing_new"


def test_while_another_run_has_the_turn_nothing_is_started(watched: Watched) -> None:
    slot = Slot(slot_of(watched.pipeline.spec.name), str(uuid4()))
    assert slot.take()
    try:
        assert watched.look().outcome == "busy"
        assert watched.runs() == []
    finally:
        slot.release()


def test_looks_at_the_same_moment_start_one_run(watched: Watched) -> None:
    """Four workers, none of which saw that another starts a run."""
    barrier = Barrier(4)

    @flow(persist_result=False)
    def racing() -> Look:
        run = open_run(watched.pipeline, "tests")
        seen = see(run)
        around = find_runs(run, seen)
        look, changes = weigh(run, seen, around)
        barrier.wait(60)
        return start(run, look, changes, around)

    with ThreadPoolExecutor(4) as pool:
        looks = [future.result() for future in [pool.submit(racing) for _ in range(4)]]
    (run,) = watched.runs()
    assert {(look.outcome, look.flow_run_id) for look in looks} == {("started", str(run.id))}

    @flow(persist_result=False)
    def late() -> Look:
        opened = open_run(watched.pipeline, "tests")
        return start(opened, looks[0], (), Around())

    watched.set(run, Failed())
    assert (late().outcome, late().flow_run_id, len(watched.runs())) == ("joined", str(run.id), 1)


def test_a_look_beside_a_look_that_goes_on_leaves_it_to_that_one(watched: Watched) -> None:
    with only_look(open_run(watched.pipeline, "tests")) as busy:
        assert busy is None
        assert watched.look().message == "An earlier look goes on."


def test_a_look_that_cannot_see_or_start_fails_by_name_and_the_next_one_sees(watched: Watched, tmp_path: Path) -> None:
    watched.decide()
    (tmp_path / "tickets").rename(tmp_path / "away")
    failed = watch(watched.pipeline, return_state=True)
    assert (failed.name, failed.is_failed()) == ("LookFailed", True)
    assert "data.source: tickets/ does not exist" in str(failed.message)
    (tmp_path / "away").rename(tmp_path / "tickets")
    assert watched.look().outcome == "nothing_new"
    watched.client.delete_deployment(watched.deployment)
    watched.drop("2.csv", seed=2)
    failed = watch(watched.pipeline, return_state=True)
    assert failed.name == "LookFailed"
    assert "contender deploy" in str(failed.message)
