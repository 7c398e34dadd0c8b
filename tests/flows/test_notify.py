"""Runs against a real Prefect server, and who is told of them: once each, and none ends otherwise for it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk import write_tickets
from prefect import flow as prefect_flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from receivers import SECRET, Receiver, receiving
from workers import until

from contender.errors import Interrupted
from contender.judging.rules import Floor
from contender.notifications import Notify
from contender.progress import Note, listening
from contender.records import FileSet, Outcome, Snapshot
from contender.registry import Registry
from contender.run import Run, RunResult, decide, open_run, up_to_date
from contender.spec import Pipeline
from contender.store import MemoryStore
from contender.text import chat_safe
from contender.workspace import Workspace
from flows import retrain as flow
from flows.retrain import retrain
from tasks import notification

pytestmark = pytest.mark.usefixtures("prefect_server", "gate_here")
EVERYTHING = Notify(on=("promoted", "kept", "rejected", "failed"), to=("env:HOOK",))


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        monkeypatch.setenv("HOOK", one.url)
        monkeypatch.setattr(notification, "DELAYS", (0.05, 0.05))
        yield one


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    """The one of all flows, which tells of everything."""
    return with_spec(pipeline, notify=(EVERYTHING,))


def with_spec(pipeline: Pipeline, promote: dict[str, Any] | None = None, **changes: Any) -> Pipeline:
    moved = pipeline.spec.promote.model_copy(update=promote or {})
    return pipeline.model_copy(update={"spec": pipeline.spec.model_copy(update=changes | {"promote": moved})})


def run(pipeline: Pipeline) -> State[RunResult]:
    return retrain(pipeline, trigger="test", actor="", return_state=True)


def titles(receiver: Receiver) -> list[str]:
    return [payload["title"] for payload in receiver.payloads]


@pytest.mark.slow
def test_each_finished_run_is_told_once_whatever_becomes_of_a_receiver(
    pipeline: Pipeline, receiver: Receiver, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[Note] = []
    with receiving(Receiver(statuses=[500])) as failing, listening(notes.append):
        monkeypatch.setenv("DOWN", failing.url)
        several = Notify(to=("env:DOWN", "env:HOOK", "block:slack-webhook/gone", "env:UNSET"))
        state = run(with_spec(pipeline, notify=(several,)))
    result = state.result()
    assert state.name == "Promoted" and result.verdict is not None
    assert [entry.n for entry in Registry(store, "desk").log("production")] == [1]
    (told,) = receiver.payloads
    assert told["title"] == f"desk: promoted {result.release}"
    assert told["body"].splitlines()[0] == chat_safe(result.verdict.sentence, 700)
    assert "- started by: test" in told["body"]
    assert f"/runs/flow-run/{result.flow_run_id}" in told["run"] and told["run"] in told["body"]
    assert (told["event"], told["outcome"], told["release"]) == ("promoted", "promoted", result.release)
    warned = [note.text for note in notes if (note.stage, note.kind) == ("notify", "warned")]
    assert [text.split()[0] for text in warned] == ["env:DOWN", "block:slack-webhook/gone", "env:UNSET"]
    assert warned[0] == "env:DOWN was not notified: it answered 500"
    assert [note.text for note in notes if (note.stage, note.kind) == ("notify", "finished")] == ["told env:HOOK"]

    assert run(pipeline).name == "UpToDate"
    assert len(receiver.payloads) == 1

    kept = with_spec(pipeline, promote={"floors": {"accuracy": Floor(value=0.9999)}})
    assert run(kept).name == "Kept"
    assert titles(receiver)[1:] == [f"desk: kept {result.release}"]

    write_tickets(tmp_path / "tickets" / "2.csv", [("a@example.com said no", "")] * 100)
    assert run(pipeline).name == "RejectedData"
    assert titles(receiver)[2:] == ["desk: data rejected"]
    assert "not tried again" in receiver.payloads[2]["body"]
    assert "example.com" not in receiver.payloads[2]["text"], "no row leaves by a message"
    assert_nothing_shows_the_url(state)


def assert_nothing_shows_the_url(state: State[RunResult]) -> None:
    """In what the server keeps of a run: its log, its parameters, its artifacts, its tasks."""
    run_id = state.state_details.flow_run_id

    def log() -> str:
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
        text = "\n".join(line.message for line in client.read_logs(only))
        return text if "was not notified" in text else ""

    with get_client(sync_client=True) as client:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
        kept = [client.read_flow_run(run_id), *client.read_task_runs(flow_run_filter=only)]
        shown = str(kept) + str(client.read_artifacts(flow_run_filter=only)) + until("its log", log, 10)
    assert "env:DOWN was not notified: it answered 500" in shown
    assert SECRET not in shown


def test_what_ends_a_run_before_it_could_begin_is_told(
    pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    state = run(with_spec(pipeline, promote={"signing_key": "env:NO_KEY"}))
    assert state.is_failed()
    assert titles(receiver) == ["desk: failed"]
    assert "NO_KEY is not set. Set NO_KEY" in receiver.payloads[0]["body"]
    assert "same command continues" in receiver.payloads[0]["body"]


def test_a_fault_of_ours_is_told_in_one_sentence_and_stays_what_it_is(
    pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by <!channel>\nline two")

    monkeypatch.setattr(flow, "find_champion", broken)
    with pytest.raises(ZeroDivisionError):
        run(pipeline).result()
    assert titles(receiver) == ["desk: failed"]
    first = receiver.payloads[0]["body"].splitlines()[0]
    assert (
        first.startswith("internal error: ZeroDivisionError: by ‹!channel›. Please report") and "Traceback" not in first
    )


class Died(BaseException):
    """As a killed process: nothing behind it happens."""


def die(*_: object) -> None:
    raise Died


@dataclass
class Deployed:
    """One run of a deployment, whose attempts this process makes, as the tasks see it; what it came to is given."""

    run: Run
    number: int = 0

    def attempt(self, result: RunResult) -> None:
        self.number += 1

        @prefect_flow(name="attempt")
        def attempt() -> None:
            notification.tell_of(self.run, result)

        attempt()

    def decided(self, outcome: Outcome, actor: str | None = None) -> RunResult:
        by = replace(self.run, actor=actor or self.run.actor)
        snapshot = Snapshot(source=FileSet(files=()))
        decision = decide(by, outcome, "Better.", snapshot=snapshot, judged_against=0, release="r-1", alias_entry=1)
        return up_to_date(self.run, snapshot, decision)


@pytest.fixture
def deployed(pipeline: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    made = Deployed(open_run(pipeline, "flow-run:0b3c", "0b3c"))

    class FlowRun:
        id, parameters = "0b3c", {"trigger": "schedule"}
        run_count = property(lambda self: made.number)

    monkeypatch.setattr(notification, "flow_run", FlowRun())
    monkeypatch.setattr(notification, "deployment", SimpleNamespace(id="d"))
    return made


@pytest.mark.parametrize("began_to", [False, True])
def test_an_attempt_that_dies_behind_its_decision_is_told_by_the_next_one_unless_it_had_begun_to(
    began_to: bool, deployed: Deployed, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_again = deployed.decided("promoted")
    promoted = found_again.model_copy(update={"outcome": "promoted"})
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(notification, "notify" if began_to else "_as_decided_before", die)
        deployed.attempt(promoted)
    assert receiver.payloads == []
    deployed.attempt(found_again)
    deployed.attempt(found_again)
    assert titles(receiver) == ([] if began_to else ["desk: promoted r-1"]), "never twice"


def test_what_another_run_decided_is_not_told_again(deployed: Deployed, receiver: Receiver) -> None:
    found_again = deployed.decided("promoted", actor="flow-run:another")
    deployed.attempt(found_again)
    deployed.attempt(found_again)
    assert receiver.payloads == []


def test_a_workspace_that_takes_no_mark_is_no_reason_to_keep_silent(
    deployed: Deployed, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = MemoryStore.named(f"down-{secrets.token_hex(4)}")
    down.fail("create", "unavailable", times=100)
    monkeypatch.setattr(Workspace, "records", down)
    deployed.attempt(deployed.decided("promoted").model_copy(update={"outcome": "promoted"}))
    assert titles(receiver) == ["desk: promoted r-1"]


def test_a_notification_that_breaks_inside_ends_no_run(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(notification, "message_of", broken)
    deployed.attempt(deployed.decided("promoted").model_copy(update={"outcome": "promoted"}))

    @prefect_flow(name="failing")
    def failing() -> None:
        with notification.failures_told(deployed.run.pipeline):
            raise KeyError

    with pytest.raises(KeyError):
        failing()


def test_a_run_that_another_attempt_took_over_tells_nobody(deployed: Deployed, receiver: Receiver) -> None:
    for error in (Abort(), Interrupted("stopped by SIGTERM")):
        with pytest.raises(type(error)), notification.failures_told(deployed.run.pipeline):
            raise error
    assert receiver.payloads == []
