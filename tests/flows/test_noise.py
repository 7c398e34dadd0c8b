"""The noise flow against a real Prefect server: what its runs are called and show, and what it asks again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId

from contender.plan import noise_stages
from contender.progress import Note, listening
from contender.spec import Pipeline
from contender.store import MemoryStore
from flows.noise import noise

pytestmark = pytest.mark.usefixtures("prefect_server", "gate_here")


@pytest.fixture
def pipeline(desk_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return desk_pipeline("train.epochs=1", wrong=0.3)


@pytest.mark.slow
def test_the_server_shows_the_spread_and_a_store_that_does_not_answer_is_asked_again(
    pipeline: Pipeline, store: MemoryStore
) -> None:
    store.fail("create", "unavailable", times=4, prefix="desk/noise/")  # as often as the store asks by itself
    notes: list[Note] = []
    with listening(notes.append):
        state = noise(pipeline, 2, trigger="test", actor="tests", return_state=True)
    result = state.result()
    assert [note.stage for note in notes if note.kind == "started"] == list(noise_stages(2))
    assert (state.name, state.is_completed(), result.outcome) == ("Done", True, "done")
    assert result.flow_run_id
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(result.flow_run_id)
        only = FlowRunFilter(id=FlowRunFilterId(any_=[found.id]))
        tasks = [(task.name.rpartition("-")[0], task.run_count) for task in client.read_task_runs(flow_run_filter=only)]
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[found.id]))
        artifacts = {one.key: one for one in client.read_artifacts(artifact_filter=mine)}
    assert found.name == f"desk · noise · test · {result.snapshot[:8]}"
    assert set(found.tags) == {"desk", "trigger:test", "outcome:done"}
    assert tasks.count(("fine-tune", 1)) == tasks.count(("try-out", 1)) == 2
    assert ("keep-noise", 2) in tasks
    assert "accuracy" in str(artifacts["desk-noise"].data) and "Each seed" in str(artifacts["desk-noise"].data)
    written = {info.key.split("/")[1] for info in store.list("desk/")}
    assert written == {"noise", "split"}, "no release, decision, ledger look or alias entry"
