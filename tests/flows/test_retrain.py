"""The flow against a real Prefect server: what its states are called, what is tried again, and who wins where two promote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk import tickets, write_tickets
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State

from contender.judging.rules import Floor
from contender.plan import run_stages
from contender.progress import Note, listening
from contender.registry import Registry
from contender.run import RunResult
from contender.spec import Pipeline
from contender.store import MemoryStore
from flows.retrain import retrain

pytestmark = pytest.mark.usefixtures("prefect_server", "gate_here")


PAGES = ("snapshot", "quality", "split", "training", "leaderboard", "verdict", "comparison", "result")


def run(pipeline: Pipeline) -> tuple[State[RunResult], RunResult]:
    state = retrain(pipeline, trigger="test", actor="tests", return_state=True)
    value = state.result(raise_on_failure=False)
    if not isinstance(value, RunResult):
        raise value
    return state, value


def seen_by_the_server(result: RunResult) -> tuple[FlowRun, dict[str, str], dict[str, str]]:
    """The flow run, its tasks' states by name, and its artifacts by key."""
    assert result.flow_run_id
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(result.flow_run_id)
        only = FlowRunFilter(id=FlowRunFilterId(any_=[found.id]))
        tasks = {
            task.name.rpartition("-")[0]: task.state_name or "" for task in client.read_task_runs(flow_run_filter=only)
        }
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[found.id]))
        pages = {artifact.key or "": str(artifact.data) for artifact in client.read_artifacts(artifact_filter=mine)}
    return found, tasks, pages


def attempts(result: RunResult) -> dict[str, int]:
    """How often each task of the run was tried, by its name."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[result.flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=only)
    return {task.name.rpartition("-")[0]: task.run_count for task in found}


def told(notes: list[Note]) -> list[str]:
    """The stages that these notes are about, in the order in which they began."""
    return list(dict.fromkeys(note.stage for note in notes if note.kind not in ("moved", "warned")))


def with_floor(pipeline: Pipeline, floor: float) -> Pipeline:
    promote = pipeline.spec.promote.model_copy(update={"floors": {"accuracy": Floor(value=floor)}})
    return pipeline.model_copy(update={"spec": pipeline.spec.model_copy(update={"promote": promote})})


def test_the_server_shows_what_came_of_a_run_what_was_tried_again_and_what_was_found_again(
    pipeline: Pipeline, store: MemoryStore, tmp_path: Path
) -> None:
    store.fail("put", "unavailable", prefix="desk/releases/")  # once
    notes: list[Note] = []
    with listening(notes.append):
        state, result = run(pipeline)
    assert (state.name, state.is_completed(), result.alias_entry) == ("Promoted", True, 1)
    assert told(notes) == [stage for stage in run_stages(pipeline) if stage != "monitor"], "there is no champion"
    flow_run, tasks, artifacts = seen_by_the_server(result)
    assert flow_run.name == f"desk · test · {str(result.snapshot)[:8]}"
    assert set(flow_run.tags) == {"desk", "trigger:test", "outcome:promoted"}
    assert tasks["fine-tune"] == "Completed"
    assert attempts(result) == {**dict.fromkeys(tasks, 1), "stage-release": 2}
    assert set(artifacts) == {f"desk-{page}" for page in PAGES} | {"desk-train"}

    state, result = run(pipeline)
    assert (state.name, result.stages) == ("UpToDate", ())
    flow_run, _, artifacts = seen_by_the_server(result)
    assert (set(flow_run.tags), set(artifacts)) == ({"desk", "trigger:test", "outcome:up_to_date"}, {"desk-result"})

    notes.clear()
    with listening(notes.append):
        state, result = run(with_floor(pipeline, 0.9999))
    assert told(notes) == list(run_stages(pipeline)) and notes[-1].finding == "open"
    assert (state.name, state.is_completed()) == ("Kept", True), "a model that is not promoted is no failure"
    _, tasks, artifacts = seen_by_the_server(result)
    assert set(artifacts) == {f"desk-{page}" for page in PAGES}, "what was found is shown as well"
    assert {name for name, kind in tasks.items() if kind == "Cached"} >= {"take-snapshot", "split-rows", "fine-tune"}

    write_tickets(tmp_path / "tickets" / "2.csv", [("", "red")] * 100)
    state, result = run(pipeline)
    assert (state.name, state.is_failed()) == ("RejectedData", True), "somebody must look at the data"


def after_the_verdict(act: Callable[[], object]) -> Callable[[Note], None]:
    """A listener that acts between the verdict and the promotion, the first time."""
    done: list[object] = []

    def hear(note: Note) -> None:
        if (note.stage, note.kind) == ("judge", "finished") and not done:
            done.append(act())

    return hear


@pytest.mark.slow
def test_a_champion_that_moves_under_a_verdict_is_judged_against_anew(
    pipeline: Pipeline, store: MemoryStore, tmp_path: Path
) -> None:
    _, first = run(pipeline)
    registry = Registry(store, "desk")
    write_tickets(tmp_path / "tickets" / "2.csv", tickets(900, seed=2))
    manifest = registry.release(str(first.release))

    def rival() -> object:
        return registry.promote("production", 1, manifest, reason="by hand", actor="a rival")

    with listening(after_the_verdict(rival)):
        state, second = run(pipeline)
    assert (state.name, second.alias_entry) == ("Promoted", 3)
    assert second.verdict is not None
    assert second.verdict.judged_against == 2
    _, tasks, artifacts = seen_by_the_server(second)
    assert tasks["monitor"] == "Completed" and "desk-monitoring" in artifacts
    (scored,) = registry.monitoring.all()
    assert second.monitoring == scored and (scored.alias_entry, scored.champion) == (1, first.release)
    assert [(entry.n, entry.actor) for entry in registry.log("production")] == [
        (1, "tests"),
        (2, "a rival"),
        (3, "tests"),
    ]


@pytest.mark.slow
def test_a_run_that_died_behind_its_promotion_finds_it_and_promotes_no_second_time(
    pipeline: Pipeline, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.policy.PATIENCE_SECONDS", 0.0)
    store.fail("create", "unavailable", times=100, prefix="desk/decisions/")
    with pytest.raises(Exception, match="did not answer"):
        run(pipeline)
    store.heal()
    registry = Registry(store, "desk")
    assert [entry.n for entry in registry.log("production")] == [1]
    state, again = run(pipeline)
    assert (state.name, again.alias_entry) == ("Promoted", 1)
    assert [entry.n for entry in registry.log("production")] == [1]
    assert [decision.outcome for decision in registry.decisions()] == ["promoted"]
