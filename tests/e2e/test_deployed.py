"""Deployed runs on a real server and real workers: whatever dies, the same flow run goes on, or ends and says why it does not."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from desk import Desk, tickets
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling
from receivers import Receiver, receiving
from workers import Worker, flow_run, history, lives, task_states, until, why_it_crashed

from contender.records import TrainReport
from contender.store import open_store
from contender.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

ENGINE, JOB = "prefect.engine", "contender.training.job"
LONG = {"epochs: 6": "epochs: 60"}


@dataclass
class Fleet:
    """A deployed pipeline of a name of its own, and the workers of its pool: a killed run's turn is kept for a minute."""

    desk: Desk
    name: str
    pool: str
    workers: list[Worker] = field(default_factory=list)

    def deploy(self, resources: str, **changed: str) -> UUID:
        text = self.desk.pipeline.read_text()
        for old, new in (LONG | {"name: desk\n": f"name: {self.name}\n"} | changed).items():
            assert old in text
            text = text.replace(old, new)
        self.desk.pipeline.write_text(f"{text}resources: {{checkpoint: {{steps: 40}}, {resources}}}\n")
        ran = self.desk.run("deploy", str(self.desk.pipeline), "--pool", self.pool, "--json")
        assert ran.code == 0, ran.shown
        return UUID(ran.document["deployments"][0]["id"])

    def worker(self, **environment: str) -> Worker:
        name = f"w{len(self.workers) + 1}"
        self.workers.append(Worker.start(name, self.pool, self.desk.folder / name, **environment))
        return self.workers[-1]

    def start(self, deployment: UUID) -> UUID:
        with get_client(sync_client=True) as client:
            return client.create_flow_run_from_deployment(deployment).id

    def checkpoint(self) -> Path | None:
        return next((self.desk.folder / ".contender" / "jobs").glob("*/checkpoints/*/checkpoint.json"), None)

    def training(self, worker: Worker) -> tuple[psutil.Process, psutil.Process]:
        """The flow's process and its training's, as soon as a checkpoint is there."""
        until("a checkpoint", lambda: self.checkpoint() and worker.running(JOB), 120, self.told)
        (engine,), (job,) = worker.running(ENGINE), worker.running(JOB)
        return engine, job

    def ended(self, run: UUID, seconds: float = 300) -> str:
        def look() -> str | None:
            state = flow_run(run).state
            assert state is not None
            return state.name if state.is_final() and not state.is_crashed() else None

        return str(until("the end", look, seconds, lambda: f"{history(run)}\n{self.told()}"))

    def trained(self) -> TrainReport:
        (manifest,) = (self.desk.folder / ".contender" / "stages" / "train").glob("*/stage.json")
        found = Workspace(self.desk.folder / ".contender").find("train", manifest.parent.name, TrainReport)
        assert found is not None
        return found.record

    def told(self) -> str:
        return "\n".join(f"--- {worker.name}\n{worker.log[-6000:]}" for worker in self.workers)


@pytest.fixture
def fleet(desk: Desk) -> Iterator[Fleet]:
    desk.drop("1.csv", tickets(600, seed=1))
    own = secrets.token_hex(4)
    pool = f"pool-{own}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    made = Fleet(desk, f"desk-{own}", pool)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.end()


STARTED = ["Scheduled", "Pending", "Submitting", "Running"]
CONTINUED = ["Crashed", "AwaitingRetry", "Pending", "Submitting", "Running"]


def test_a_killed_flow_process_is_followed_by_another_that_continues(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(Receiver()) as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        _killed_and_continued(fleet)
    assert [payload["event"] for payload in receiver.payloads] == ["promoted"], "once, whatever died"


def _killed_and_continued(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 3", **{"quality:": "notify: {to: env:HOOK}\nquality:"}))
    worker = fleet.worker()
    engine, job = fleet.training(worker)
    engine.kill()
    assert fleet.ended(run) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    assert not lives(job)
    assert fleet.trained().resumed_from_step > 0
    tasks = task_states(run)
    assert {tasks["take-snapshot"][-1], tasks["check-quality"][-1], tasks["split-rows"][-1]} == {"Cached"}
    assert not list((fleet.desk.folder / ".contender" / "records").rglob("runs/*/*.json")), "nothing to remember"


def test_a_run_whose_machine_is_gone_goes_on_at_another_worker(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 3"))
    first = fleet.worker()
    fleet.training(first)
    first.kill_with_all_that_it_started()
    fleet.worker()
    assert fleet.ended(run, 300) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    assert why_it_crashed(run) == ["no heartbeat: its machine may be gone"]
    assert first.below() == []
    assert fleet.trained().resumed_from_step > 0


def test_a_process_that_was_taken_for_dead_ends_when_it_wakes_and_touches_nothing(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 3"))
    first = fleet.worker()
    engine, _ = fleet.training(first)
    engine.suspend()
    until("the next attempt, which waits for the turn", lambda: history(run)[-1] == "Waiting", 200, fleet.told)
    engine.resume()
    until("its end", lambda: not lives(engine), 120, fleet.told)
    assert fleet.ended(run) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Waiting", "Running", "Promoted"]
    assert fleet.desk.run("history", f"{fleet.desk.registry}/{fleet.name}", "--json").document["entries"][0]["n"] == 1


def test_a_flow_that_is_asked_to_end_leaves_a_checkpoint_and_goes_on(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 1"))
    engine, job = fleet.training(fleet.worker())
    engine.terminate()
    assert fleet.ended(run) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    assert why_it_crashed(run) == ["the training was interrupted and left a checkpoint"]
    assert not lives(job)
    assert fleet.trained().resumed_from_step > 0


def test_a_worker_that_is_asked_to_end_kills_its_flows_which_go_on_from_where_they_were(fleet: Fleet) -> None:
    # A worker takes a while to end, and on an idle machine the usual training would be over before.
    run = fleet.start(fleet.deploy("max_recoveries: 1", **{"epochs: 6": "epochs: 60"}))
    first = fleet.worker()
    engine, job = fleet.training(first)
    first.stop()
    until("the end of what it started", lambda: not lives(engine) and not lives(job), 60, fleet.told)
    fleet.worker()
    assert fleet.ended(run, 300) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    assert fleet.trained().resumed_from_step > 0


def test_a_flow_process_does_not_outlive_its_worker_and_goes_on_at_another(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 1"))
    first = fleet.worker()
    engine, job = fleet.training(first)
    first.kill()
    until("the flow's end", lambda: not lives(engine), 60, fleet.told)
    assert not lives(job)
    fleet.worker()
    assert fleet.ended(run) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    assert why_it_crashed(run) == ["the training was interrupted and left a checkpoint"]
    assert fleet.trained().resumed_from_step > 0


def test_a_killed_training_is_continued_by_its_flow(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 1"))
    worker = fleet.worker()
    _, job = fleet.training(worker)
    job.kill()
    assert fleet.ended(run) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, "Promoted"]
    assert fleet.trained().recoveries == 1
    until("the end of its processes", lambda: not worker.running(ENGINE) and not worker.running(JOB), 30, fleet.told)


def test_a_cancelled_run_keeps_its_checkpoint_and_is_not_continued(fleet: Fleet) -> None:
    run = fleet.start(fleet.deploy("max_recoveries: 3"))
    worker = fleet.worker()
    engine, job = fleet.training(worker)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    assert fleet.ended(run) == "Cancelled", fleet.told()
    assert history(run) == [*STARTED, "Cancelling", "Cancelled"]
    assert not lives(engine)
    assert not lives(job)
    assert fleet.checkpoint() is not None
    assert worker.process.poll() is None, "the worker takes the next run"


KILLS_ITSELF = """
import os, signal, sys

def hook(event, details):
    if event == "subprocess.Popen" and "contender.training.job" in details[1]:
        os.kill(os.getpid(), signal.SIGKILL)

if "prefect.engine" in sys.orig_argv:
    sys.addaudithook(hook)
"""


def test_a_run_that_dies_at_the_same_point_each_time_fails_and_says_where(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLS_ITSELF)
    run = fleet.start(fleet.deploy("max_recoveries: 5", **{"quality:": "notify: {to: env:HOOK}\nquality:"}))
    places = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with receiving(Receiver()) as receiver:
        fleet.worker(PYTHONPATH=os.pathsep.join(places), HOOK=receiver.url)
        assert fleet.ended(run, 300) == "Failed", fleet.told()
    (told,) = receiver.payloads
    assert told["event"] == "failed" and "died 3 times at the same point" in told["body"], "not each time"
    assert history(run) == [*STARTED, *CONTINUED, *CONTINUED, *CONTINUED, "Failed"]
    state = flow_run(run).state
    assert state is not None
    assert "the run died 3 times at the same point, the last time in train (" in str(state.message)


@pytest.mark.server("ministack")
@pytest.mark.parametrize("s3_server", ["ministack"], indirect=True)
def test_a_run_goes_on_on_a_machine_that_shares_nothing_but_the_store(
    fleet: Fleet, s3_server: Any, tmp_path: Path
) -> None:
    shared = open_store(f"s3://{s3_server.bucket}/{secrets.token_hex(4)}")
    changed = {"task: text-classification\n": f"task: text-classification\nworkspace: {shared.url}\n"}
    run = fleet.start(fleet.deploy("max_recoveries: 3", **changed))
    first = fleet.worker(CONTENDER_CACHE=str(tmp_path / "one"))
    sent = lambda: [info.key for info in shared.list("jobs/") if info.key.endswith("checkpoint.json")]  # noqa: E731
    until("a checkpoint in the store", sent, 120, fleet.told)
    first.kill_with_all_that_it_started()
    fleet.worker(CONTENDER_CACHE=str(tmp_path / "two"))
    assert fleet.ended(run, 300) == "Promoted", fleet.told()
    assert history(run) == [*STARTED, *CONTINUED, "Promoted"]
    (stage,) = (tmp_path / "two").glob("workspaces/*/stages/train/[0-9a-f]*")
    trained = Workspace(stage.parents[2]).find("train", stage.name, TrainReport)
    assert trained
    assert trained.record.resumed_from_step > 0
    assert {"Cached"} == {
        states[-1] for task, states in task_states(run).items() if task in ("take-snapshot", "split-rows")
    }
    assert sent() == []
