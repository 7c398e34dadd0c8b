"""Why models gave their answers, from the releases to the report: a stage that is kept, and that stops nothing where it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from desk import COLOURS, PIPELINE, tickets

from contender.attribution import Attributions
from contender.contest import outcomes_of
from contender.errors import DiskFull, ModelError
from contender.evaluation.outcomes import paired
from contender.kinds import kind
from contender.kinds.text_classification import TextClassification
from contender.loading import load_pipeline
from contender.progress import Note, listening
from contender.publishing import _explained
from contender.records import ReleaseDraft, ReleaseManifest, SplitReport
from contender.reporting.findings import worth_explaining
from contender.run import Run, open_run
from contender.stages.explain import ATTRIBUTIONS, explain
from contender.workspace import Staged

LABELS = tuple(sorted(COLOURS))
pytestmark = pytest.mark.usefixtures("one_torch_thread")
ROWS = 90


@pytest.fixture
def open_desk(tmp_path: Path, tiny_base: Path) -> Callable[..., Run]:
    def open_it(*overrides: str) -> Run:
        (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
        return open_run(load_pipeline(tmp_path / "desk.yaml", overrides), actor="")

    return open_it


@pytest.fixture
def split(tmp_path: Path) -> Staged[SplitReport]:
    rows = [{"text": text, "label": label, "_key": n} for n, (text, label) in enumerate(tickets(ROWS, seed=1))]
    table = pa.Table.from_pylist(rows)
    (tmp_path / "split").mkdir()
    with pa.OSFile(str(tmp_path / "split" / "test.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    report = SplitReport(
        rows={"test": ROWS},
        digests={"test": "d"},
        removed_leaks=0,
        removed_duplicates=0,
        labels=LABELS,
        label_counts={},
    )
    return Staged("split", "k", report, tmp_path / "split", cached=False, seconds=0.0)


def released(run: Run, base: Path, folder: Path, seed: int) -> ReleaseManifest:
    """A random model in the registry; another seed has other answers."""
    import torch

    found = kind("text-classification")
    model = found.load_model(base, LABELS)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    model.save_pretrained(folder)
    found.load_processor(base).save_pretrained(folder)
    draft = ReleaseDraft(kind="text-classification", columns={"text": "body", "label": "colour"}, label_names=LABELS)
    return run.registry.stage(folder, draft)


@pytest.fixture
def contest(open_desk: Callable[..., Run], split: Staged[SplitReport], tiny_base: Path, tmp_path: Path) -> Any:
    """What a report asks of a contest, of two random models."""
    run = open_desk()
    models = [released(run, tiny_base, tmp_path / f"model{seed}", seed) for seed in (1, 2)]
    return SimpleNamespace(challenger=models[0], champion=SimpleNamespace(manifest=models[1]), split=split)


def outcomes(run: Run, contest: Any) -> tuple[pa.Table, pa.Table]:
    ours, theirs = (
        outcomes_of(run, model, contest.split, "test") for model in (contest.challenger, contest.champion.manifest)
    )
    return ours, theirs


def test_both_models_are_explained_once_where_they_differ_and_found_again(
    open_desk: Callable[..., Run], contest: Any
) -> None:
    run = open_desk()
    ours, theirs = outcomes(run, contest)
    found = _explained(run, contest, "test", ours, theirs)
    answers, champion_answers = worth_explaining(paired(ours, theirs))
    assert 0 < len(champion_answers) < len(answers) <= 30
    assert {one.row: one.answer for one in found.challenger} == answers
    assert {one.row: one.answer for one in found.champion} == champion_answers
    labels, said = ours.column("label").to_pylist(), theirs.column("prediction").to_pylist()
    assert all((labels[row] == answers[row]) != (labels[row] == said[row]) for row in champion_answers)

    again = open_desk()
    assert _explained(again, contest, "test", ours, theirs) == found
    assert [(stage.name, stage.cached) for stage in (*run.stages, *again.stages)] == [
        ("explain", False),
        ("explain", True),
    ]
    (kept,) = run.workspace.root.glob(f"stages/explain/*/{ATTRIBUTIONS}")
    assert "word" not in kept.read_text(), "places in the rows, and none of their text"
    kept.write_text("{}")
    mended = open_desk()
    assert _explained(mended, contest, "test", ours, theirs) == found
    assert not mended.stages[0].cached, "a damaged file is a miss"


def test_other_rows_are_other_work(open_desk: Callable[..., Run], contest: Any) -> None:
    run = open_desk()
    ours, _ = outcomes(run, contest)
    said = ours.column("prediction").to_pylist()
    one = explain(run, (contest.challenger, {0: said[0]}), None, contest.split, "test")
    two = explain(run, (contest.challenger, {1: said[1]}), None, contest.split, "test")
    assert ([each.row for each in one.challenger], [each.row for each in two.challenger]) == ([0], [1])
    assert one.champion == ()


def test_nothing_is_computed_where_no_text_may_be_shown_or_nothing_is_wrong(
    open_desk: Callable[..., Run], contest: Any
) -> None:
    run = open_desk("report.examples=none")
    ours, theirs = outcomes(run, contest)
    assert _explained(run, contest, "test", ours, theirs) == Attributions()
    perfect = ours.set_column(ours.column_names.index("prediction"), "prediction", ours.column("label"))
    assert _explained(open_desk(), contest, "test", perfect, None) == Attributions()
    assert run.stages == []


def test_a_model_that_cannot_be_explained_stops_no_report_and_is_told(
    open_desk: Callable[..., Run], contest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, notes = open_desk(), list[Note]()
    ours, theirs = outcomes(run, contest)

    def fail(error: Exception) -> None:
        def explained(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(TextClassification, "explain", explained)

    fail(ModelError("answers of OddModel cannot be explained: no embeddings", "Nothing else is amiss."))
    with listening(notes.append):
        assert _explained(run, contest, "test", ours, theirs) == Attributions()
    (warned,) = [note.text for note in notes if note.kind == "warned"]
    assert "OddModel cannot be explained: no embeddings" in warned
    fail(DiskFull("no space left", "Free some."))
    with pytest.raises(DiskFull):
        _explained(run, contest, "test", ours, theirs)
