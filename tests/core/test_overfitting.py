"""What a learning curve says of overfitting: a warning where the gap is real, a fact where it is not, nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk import PIPELINE
from hypothesis import given
from hypothesis import strategies as st
from reports import Page, report_input

from contender.kinds import kind
from contender.loading import load_pipeline
from contender.overfitting import fit_of, overfitting
from contender.plan import stage_key
from contender.progress import Note, listening
from contender.records import CurvePoint, SplitReport, TrainReport
from contender.reporting.report import render_report
from contender.run import open_run
from contender.showing.model import training_page
from contender.stages.base import find_base
from contender.stages.model import fine_tune, training_versions
from contender.workspace import Staged

# Losses in training, losses and accuracies on validation, by epoch, as MiniLM had them: 12 rows of each class, 20 epochs.
EMOTION = (
    [1.386, 1.322, 1.034, 0.570, 0.184, 0.034, 0.009, 0.003, 0.002, 0.001, 0.001, 0.001],
    [1.383, 1.284, 1.226, 1.128, 0.995, 1.188, 1.515, 1.702, 1.792, 1.858, 1.916, 1.959],
    [0.26, 0.67, 0.48, 0.50, 0.55, 0.58, 0.51, 0.53, 0.52, 0.53, 0.55, 0.55],
)
TREC = (
    [1.791, 1.618, 1.025, 0.377, 0.078, 0.013, 0.005, 0.003, 0.002, 0.001],
    [1.782, 1.720, 1.548, 1.323, 1.345, 1.513, 1.588, 1.547, 1.501, 1.476],
    [0.22, 0.30, 0.40, 0.52, 0.56, 0.59, 0.61, 0.63, 0.69, 0.68],
)


def report(
    training: list[float], validation: list[float], accuracy: list[float] | None, metric: str = "accuracy", **more: Any
) -> TrainReport:
    """A curve of epochs of three steps, each of which has its loss."""
    curve = []
    for epoch, (loss, other) in enumerate(zip(training, validation, strict=True), start=1):
        curve += [CurvePoint(step=3 * epoch - 2 + step, epoch=epoch, loss=loss) for step in range(3)]
        metrics = {"loss": other} | ({metric: accuracy[epoch - 1]} if accuracy else {})
        curve.append(CurvePoint(step=3 * epoch, epoch=epoch, metrics=metrics))
    return TrainReport(
        steps=3 * len(training), epochs=len(training), examples=48, seconds=5, examples_per_second=24, learning_rate=3e-4,
        batch_size=16, precision="fp32", precision_reason="asked for", device="cpu", curve=tuple(curve), **more,
    )  # fmt: skip


def test_a_loss_that_doubles_while_nothing_is_gained_is_warned_of_with_what_to_do() -> None:
    found = overfitting(report(*EMOTION, best_step=6))
    assert found is not None and found.overfits
    assert (found.lowest.step, found.later.step) == (15, 36)
    assert found.text.startswith(
        "overfitting: the loss on validation was lowest at step 15 (0.995) and 1.959 at the end, while that in training fell from "
        "0.184 to 0.001, and accuracy gained nothing by it. The weights of step 6 are kept. "
    )
    assert all(word in found.text for word in ("early_stopping", "dropout", "more data"))


def test_a_loss_that_rises_while_the_model_gets_better_is_told_and_not_warned_of() -> None:
    found = overfitting(report(*TREC))
    assert found is not None and not found.overfits
    assert found.text == "the loss on validation was lowest at step 12 (1.323) and 1.476 at the end"
    steeper = report(TREC[0], [*TREC[1][:-1], 3.0], TREC[2])
    assert not overfitting(steeper).overfits


def test_the_same_rise_without_a_metric_that_gained_is_warned_of() -> None:
    steeper = [*TREC[1][:-1], 3.0]
    assert overfitting(report(TREC[0], steeper, None)).overfits  # kinds that choose by the loss have no other figure
    assert overfitting(report(TREC[0], steeper, [0.5] * 10)).overfits
    worse = [0.5, 0.5, 0.5, 0.5, *[0.9] * 6]
    assert overfitting(report(TREC[0], steeper, worse, metric="log_loss")).overfits
    assert not overfitting(report(TREC[0], steeper, worse, metric="accuracy")).overfits


@pytest.mark.parametrize("best", [12, 15, 18])
def test_a_training_that_was_stopped_early_is_asked_about_the_weights_that_it_keeps(best: int) -> None:
    stopped = [values[:8] for values in EMOTION]
    found = overfitting(report(*stopped, stopped_early=True, best_step=best))
    assert found is None or not found.overfits
    assert overfitting(report(*stopped, best_step=best)).overfits


def test_weights_that_are_kept_from_far_behind_the_lowest_loss_are_warned_of() -> None:
    found = overfitting(report(*EMOTION, stopped_early=True, best_step=36))
    assert found.overfits and "1.959 in the weights that are kept" in found.text


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([1.0, 0.9, 0.8], [1.0, 0.9, 0.8]),  # learns on
        ([1.0], [1.0]),  # one look
        ([], []),
    ],
)
def test_nothing_is_said_where_the_lowest_loss_is_the_last(training: list[float], validation: list[float]) -> None:
    assert overfitting(report(training, validation, None)) is None
    assert fit_of(report(training, validation, None)) == {"overfitting": None}


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([1.0, 0.5, 0.1], [1.0, 0.9, 1.5]),  # one look behind the lowest may be chance
        ([1.0, 0.5, 0.3, 0.2], [1.0, 0.9, 1.0, 1.05]),  # some hundredths
        ([1.0, 0.5, 2.0, 3.0], [1.0, 0.9, 2.0, 3.0]),  # the loss in training rises too: no rows are known by heart
        ([1.0, 0.5, 0.49, 0.48], [1.0, 0.9, 1.5, 2.0]),
    ],
)
def test_less_than_a_real_gap_is_no_warning(training: list[float], validation: list[float]) -> None:
    found = overfitting(report(training, validation, None))
    assert found is not None and not found.overfits


losses = st.floats(1e-6, 1e3)


@given(st.lists(st.tuples(losses, losses, st.floats(0, 1)), min_size=0, max_size=20), st.booleans(), st.integers(0, 25))
def test_it_never_warns_of_a_loss_that_did_not_rise_and_says_the_same_in_any_unit(
    epochs: list[tuple[float, float, float]], early: bool, best: int
) -> None:
    training, validation, accuracy = ([epoch[part] for epoch in epochs] for part in range(3))
    more = {"stopped_early": early, "best_step": 3 * best or None}
    found = overfitting(report(training, validation, accuracy, **more))
    if found is None:
        return
    assert found.later.step > found.lowest.step and found.later.loss >= found.lowest.loss == min(validation)
    if found.overfits:
        assert found.later.loss > 1.2 * found.lowest.loss and found.later.training < found.lowest.training
    bits = overfitting(report([2 * x for x in training], [2 * x for x in validation], accuracy, **more))
    assert bits.overfits == found.overfits
    assert "\n" not in found.text


def test_what_is_shown_in_prefect_and_kept_in_a_runs_document_says_it() -> None:
    assert "overfitting: the loss on validation" in training_page(report(*EMOTION), "accuracy").replace("\\", "")
    assert "overfitting" not in training_page(report(*TREC), "accuracy")
    kept = fit_of(report(*EMOTION))["overfitting"]
    assert kept["overfits"] and kept["lowest"]["step"] == 15 and kept["text"].startswith("overfitting")


def test_the_page_says_it_beside_the_curves(tmp_path: Path) -> None:
    data = report_input(tmp_path)
    page = Page(render_report(replace(data, training=report(*EMOTION, best_step=6)))).text
    assert "Overfitting: the loss on validation was lowest at step 15 (0.995) and 1.959 at the end, while" in page
    page = Page(render_report(replace(data, training=report(*TREC, best_step=30)))).text
    assert (
        "Overfitting" not in page
        and "The loss on validation was lowest at step 12 (1.323) and 1.476 at the end." in page
    )
    assert "The loss on validation" not in Page(render_report(data)).text


@pytest.mark.parametrize(("curve", "warned"), [(EMOTION, 1), (TREC, 0)], ids=["emotion", "trec"])
def test_a_run_warns_of_it_at_the_end_of_the_training_also_of_one_that_it_found(
    tmp_path: Path, tiny_base: Path, curve: Any, warned: int
) -> None:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base) + "promote: {to: registry}\n")
    run = open_run(load_pipeline(tmp_path / "desk.yaml"), "tests")
    base = find_base(run)
    digests = {"train": "aa", "validation": "bb"}
    removed = {"removed_leaks": 0, "removed_duplicates": 0}
    counts = {"train": {"a": 1, "b": 1}}
    record = SplitReport(rows={}, digests=digests, labels=("a", "b"), label_counts=counts, **removed)
    split = Staged("split", "s", record, tmp_path, cached=False, seconds=0.0)
    spec = run.pipeline.spec
    key = stage_key(
        run.pipeline,
        "train",
        rows=digests,
        labels=record.labels,
        base=base.digest,
        kind=kind(spec.task).revision,
        versions=training_versions(spec.model.method),
    )

    def trained(folder: Path) -> TrainReport:
        (folder / "model").write_text("a stage without files is none")
        return report(*curve)

    run.workspace.stage("train", key, TrainReport, trained)
    notes: list[Note] = []
    with listening(notes.append):
        assert fine_tune(run, base, split).cached
    assert [note.kind for note in notes] == ["started", "finished", *["warned"] * warned]
    assert all(note.text.startswith("overfitting: ") for note in notes if note.kind == "warned")
