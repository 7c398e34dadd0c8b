"""A run on a store that keeps nobody apart: refused before it trains, or at work under a lease where the spec promises one writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from careless import Careless
from desk import PIPELINE, tickets, write_tickets
from prefect.client.schemas.objects import State

from contender.errors import UnsafeStore
from contender.loading import load_pipeline
from contender.progress import Note, listening
from contender.records import digest
from contender.registry import Registry
from contender.run import RunResult
from contender.spec import Pipeline
from flows.retrain import retrain
from tasks.turn import Slot

pytestmark = pytest.mark.usefixtures("prefect_server", "gate_here")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Careless:
    made = Careless()
    monkeypatch.setattr("contender.run.open_store", lambda *_: made)
    return made


@pytest.fixture
def pipeline(
    tmp_path: Path, tiny_base: Path, store: Careless, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Pipeline]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tickets").mkdir()
    write_tickets(tmp_path / "tickets" / "1.csv", tickets(240, seed=1))
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    return lambda *more: load_pipeline(tmp_path / "desk.yaml", more)


def run(pipeline: Pipeline) -> State[RunResult]:
    return retrain(pipeline, trigger="test", actor="tests", return_state=True)


def test_an_unsafe_store_is_refused_before_anything_is_trained(
    pipeline: Callable[..., Pipeline], store: Careless
) -> None:
    notes: list[Note] = []
    with listening(notes.append):
        state = run(pipeline())
    error = state.result(raise_on_failure=False)
    assert isinstance(error, UnsafeStore)
    assert "promote.single_writer" in error.fix
    assert error.ended.outcome == "failed"
    assert {note.stage for note in notes} <= {"snapshot", "look", "source"}
    assert list(store.list()) == []


@pytest.mark.slow
def test_a_promise_of_one_writer_is_kept_by_a_lease(pipeline: Callable[..., Pipeline], store: Careless) -> None:
    registry = Registry(store, "desk")
    slot = Slot(f"registry:{digest(registry.url)[:32]}", str(uuid4()))
    waited: list[str] = []

    def hear(note: Note) -> None:
        if (note.stage, note.kind) == ("judge", "finished"):
            assert slot.take(), "another run is about to promote"
        if note.stage == "queue":
            waited.append(note.text)
            assert registry.log("production") == []
            slot.release()

    with listening(hear):
        state = run(pipeline("promote.single_writer=true"))
    result = state.result(raise_on_failure=False)
    assert isinstance(result, RunResult), result
    assert (state.name, result.alias_entry) == ("Promoted", 1)
    assert len(waited) == 1
    assert [entry.n for entry in registry.log("production")] == [1]
    again = Slot(slot.name, str(uuid4()))
    assert again.take(), "the run gave its lease back"
    again.release()
