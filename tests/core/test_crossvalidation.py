"""Cross-validation: what is refused, the laws of folds, and what is said of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from desk import PIPELINE, tickets, write_tickets
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import EVIL, report_input

from contender.crossvalidation import CrossValidated, FoldScore, cross_validated, fold_rows, spread_rows
from contender.data.folds import ByKey, ByTime, cut, deal, write_folds
from contender.data.fractions import take_fraction
from contender.data.rowfile import open_rows, write_parts
from contender.data.setfile import KEY, TIME, SetWriter
from contender.errors import DataError, SpecError
from contender.loading import load_pipeline
from contender.names import TASKS
from contender.plan import run_stages
from contender.progress import Note, listening
from contender.reporting.crossvalidation import folds_chart
from contender.reporting.report import render_report
from contender.run import Run, open_run
from contender.searching import TriedTrial, leaderboard
from contender.showing.crossvalidation import folds_page
from contender.stages.base import find_base
from contender.stages.crossvalidation import Folds, cross_validate
from contender.stages.data import check_quality, look, split_rows, take_snapshot
from contender.stages.search import conclude_search, try_next
from contender.workspace import Workspace

COLUMNS = {"text": "text", "label": "label"}
TASK = TASKS["text-classification"]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{folds: 1}", "greater than or equal to 2"),
        ("{folds: 21}", "less than or equal to 20"),
        ("{folds: 2.5}", "valid integer"),
        ("{folds: many}", "valid integer"),
        ("{folds: true}", "not true or false"),
        ("{folds: null}", "valid integer"),
        ("{fold: 3}", "did you mean 'cross_validation.folds'"),
        ("3", "cross_validation"),
        ("[3]", "cross_validation"),
    ],
)
def test_folds_that_cannot_be_are_refused_where_they_stand(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base="b") + f"cross_validation: {written}\n")
    with pytest.raises(SpecError) as error:
        load_pipeline(tmp_path / "desk.yaml")
    assert said in error.value.what and "desk.yaml:" in error.value.what


def test_without_folds_nothing_changes_and_a_search_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base="b"))
    plain = load_pipeline(tmp_path / "desk.yaml")
    asked = load_pipeline(tmp_path / "desk.yaml", ("cross_validation={}",))
    assert asked.spec.cross_validation is not None and asked.spec.cross_validation.folds == 5
    assert plain.digest != asked.digest
    stages = run_stages(asked)
    assert stages.index("cross-validate") == stages.index("train") - 1 and "cross-validate" not in run_stages(plain)
    searching = load_pipeline(tmp_path / "desk.yaml", ("cross_validation={}", "search={}"))
    assert "cross-validate" not in run_stages(searching) and "search" in run_stages(searching)
    load_pipeline(tmp_path / "desk.yaml", ("cross_validation={}", "data.split.validation=0"))
    with pytest.raises(SpecError, match="validation is 0"):
        load_pipeline(tmp_path / "desk.yaml", ("cross_validation={}", "search={}", "data.split.validation=0"))


def test_more_folds_than_keys_or_times_are_refused_with_how_many_there_are() -> None:
    keys = np.array([7, 7, 7, 9, 9], np.uint64)
    with pytest.raises(DataError, match="folds is 3, and the rows of train and validation have 2 keys"):
        deal(keys, np.zeros(5, np.int32), 3)
    with pytest.raises(DataError, match="have 0 keys"):
        deal(keys[:0], np.zeros(0, np.int32), 2)
    with pytest.raises(DataError, match="of 3 different times: with a split by time, that many folds need 4"):
        cut(np.array([1.0, 1.0, 2.0, 5.0]), 3, 0.0)
    assert list(cut(np.array([1.0, 2.0, 5.0, 5.0, 6.0]), 3, 0.0).cuts) == [1.0, 2.0, 5.0]


# --- the laws of folds ------------------------------------------------------------------------------------------------


def batch_of(keys: np.ndarray) -> pa.RecordBatch:
    return pa.record_batch({KEY: pa.array(keys, pa.uint64())})


def folds_of(found: ByKey, keys: np.ndarray) -> np.ndarray:
    """The fold that each row validates in; it trains in all others."""
    masks = found.masks(batch_of(keys))
    for validates, trains in masks:
        assert (validates ^ trains).all()
    validated = np.stack([validates for validates, _ in masks])
    assert (validated.sum(axis=0) == 1).all()
    return validated.argmax(axis=0)


rows = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=2, max_size=200)


@settings(deadline=None)
@given(rows, st.integers(2, 7), st.randoms(use_true_random=False))
def test_a_key_is_in_one_fold_whatever_the_order_of_rows(given: list[tuple[int, int]], count: int, dice: Any) -> None:
    keys, codes = (np.array(column) for column in zip(*given, strict=True))
    keys = keys.astype(np.uint64)
    count = min(count, len(np.unique(keys)))
    if count < 2:
        return
    found = folds_of(deal(keys, codes, count), keys)
    assert set(found) == set(range(count))
    for key in np.unique(keys):
        assert len(set(found[keys == key])) == 1
    order = np.array(dice.sample(range(len(keys)), len(keys)))
    assert (folds_of(deal(keys[order], codes[order], count), keys) == found).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=300), st.integers(2, 20), st.integers(0, 2**32))
def test_labels_are_spread_to_within_a_key_where_keys_hold_one_row(labels: list[int], count: int, seed: int) -> None:
    codes = np.array(labels)
    keys = np.random.default_rng(seed).choice(2**62, len(codes), replace=False).astype(np.uint64)
    count = min(count, len(codes))
    found = folds_of(deal(keys, codes, count), keys)
    for of in (np.ones(len(codes), bool), *(codes == code for code in set(labels))):
        sizes = np.bincount(found[of], minlength=count)
        assert sizes.max() - sizes.min() <= 1


@settings(deadline=None)
@given(rows, st.integers(2, 7))
def test_rows_of_a_label_differ_by_no_more_than_its_largest_key(given: list[tuple[int, int]], count: int) -> None:
    keys = np.array([key for key, _ in given], np.uint64)
    codes = (keys % np.uint64(3)).astype(np.int32)  # of a key all rows have one label
    count = min(count, len(np.unique(keys)))
    if count < 2:
        return
    found = folds_of(deal(keys, codes, count), keys)
    for code in set(codes.tolist()):
        of = codes == code
        sizes = np.bincount(found[of], minlength=count)
        assert sizes.max() - sizes.min() <= max(Counter(keys[of].tolist()).values())


def test_large_keys_go_to_different_folds_and_a_key_goes_by_its_commonest_label() -> None:
    keys = np.array([*range(30), *(key for key in (3, 11, 27) for _ in range(50))], np.uint64)
    found = folds_of(deal(keys, np.zeros(len(keys), np.int32), 3), keys)
    assert sorted(np.bincount(found)) == [60, 60, 60]
    rows = [(key, code) for key in range(200) for code in (0, 1, 1)] + [
        (key, 0) for key in range(200, 400) for _ in range(3)
    ]
    keys, codes = np.array([key for key, _ in rows], np.uint64), np.array([code for _, code in rows])
    found = folds_of(deal(keys, codes, 2), keys)
    assert [sum(found[keys == key][0] == 0 for key in of) for of in (range(200), range(200, 400))] == [100, 100]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 30), st.floats(0, 30)), min_size=3, max_size=200),
    st.integers(2, 7),
    st.sampled_from([0.0, 2.5]),
)
def test_no_training_row_is_later_than_a_validation_row(times: list[float], count: int, gap: float) -> None:
    moments = np.array(times, np.float64)
    count = min(count, len(np.unique(moments)) - 1)
    if count < 2:
        return
    found = cut(moments, count, gap)
    assert (found.cuts == cut(moments[::-1], count, gap).cuts).all()
    masks = found.masks(pa.record_batch({TIME: moments}))
    for begins, (validates, trains) in zip(found.cuts, masks, strict=True):
        assert validates.any() and (moments[validates] > begins).all() and (moments[trains] <= begins - gap).all()
        if not gap:
            assert trains.any()
            assert (trains == (moments < moments[validates].min())).all(), "all earlier rows train"
    of_folds = np.sum([validates for validates, _ in masks], axis=0)
    assert (of_folds == (moments > found.cuts[0])).all(), "of all but the oldest block each validates once"


def test_blocks_of_time_are_about_as_large() -> None:
    found = cut(np.arange(1000.0), 4, 0.0)
    sizes = [int(validates.sum()) for validates, _ in found.masks(pa.record_batch({TIME: np.arange(1000.0)}))]
    assert sizes == [200, 200, 200, 200]
    assert isinstance(found, ByTime)


# --- their files ------------------------------------------------------------------------------------------------------


def write_set(path: Path, numbers: range, labels: int = 3, timed: bool = False, batch: int = 17) -> SetWriter:
    writer = SetWriter(path, COLUMNS, (), TASK, "at" if timed else None)
    for start in range(numbers.start, numbers.stop, batch):
        part = range(start, min(start + batch, numbers.stop))
        cells = {"text": [f"row {n}" for n in part], "label": [f"l{n % labels}" for n in part]}
        made = pa.record_batch({**cells, "at": [f"{n}" for n in part]})
        writer.add(made, np.array([n // 2 for n in part], np.uint64))
    writer.close()
    return writer


def texts(path: Path) -> list[str]:
    return list(open_rows(path)["text"][:])


@pytest.mark.parametrize("count", [2, 5])
def test_files_of_folds_hold_every_row_once_and_no_held_out_one(tmp_path: Path, count: int) -> None:
    write_set(tmp_path / "train.arrow", range(200))
    write_set(tmp_path / "validation.arrow", range(200, 250))
    (tmp_path / "test.arrow").write_bytes(b"whoever reads this fails")
    out = tmp_path / "folds"
    out.mkdir()
    found = write_folds(tmp_path, count, TASK, out)
    validated = [texts(out / f"{n}" / "validation.arrow") for n in range(1, count + 1)]
    everything = [f"row {n}" for n in range(250)]
    assert sorted(chain.from_iterable(validated)) == sorted(everything)
    for number, (fold, mine) in enumerate(zip(found, validated, strict=True), start=1):
        trained = texts(out / f"{number}" / "train.arrow")
        assert trained == [text for text in everything if text not in set(mine)], "in their order"
        assert (fold.trained, fold.validated) == (len(trained), len(mine))
        assert not fold.untrained and not fold.untried
        assert not {int(text.split()[1]) // 2 for text in trained} & {int(text.split()[1]) // 2 for text in mine}


def test_folds_of_training_rows_alone_and_labels_that_a_fold_lacks_are_named(tmp_path: Path) -> None:
    write_set(tmp_path / "train.arrow", range(40), labels=40)
    write_set(tmp_path / "validation.arrow", range(0))
    out = tmp_path / "folds"
    out.mkdir()
    found = write_folds(tmp_path, 2, TASK, out)
    assert sum(fold.validated for fold in found) == 40
    assert set(found[0].untrained) == set(found[1].untried) and len(found[0].untrained) == found[0].validated


def test_folds_by_time_train_on_what_is_older(tmp_path: Path) -> None:
    timed = write_set(tmp_path / "train.arrow", range(90), timed=True)
    write_set(tmp_path / "validation.arrow", range(90, 120), timed=True)
    assert timed.digest == write_set(tmp_path / "plain.arrow", range(90)).digest, "times are not what a training reads"
    out = tmp_path / "folds"
    out.mkdir()
    write_folds(tmp_path, 3, TASK, out, gap=5.0)
    numbers = {
        name: [[int(text.split()[1]) for text in texts(out / f"{n}" / f"{name}.arrow")] for n in (1, 2, 3)]
        for name in ("train", "validation")
    }
    assert numbers["validation"] == [[*range(30, 60)], [*range(60, 90)], [*range(90, 120)]]
    assert numbers["train"] == [[*range(25)], [*range(55)], [*range(85)]]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no row is old enough to train on for fold 1"):
        write_folds(tmp_path, 3, TASK, tmp_path / "none", gap=30.0)


def test_a_fraction_of_a_split_by_time_is_of_its_roles_alone(tmp_path: Path) -> None:
    write_set(tmp_path / "train.arrow", range(90), timed=True)
    (tmp_path / "half").mkdir()
    take_fraction(tmp_path, 0.5, list(COLUMNS), TASK, tmp_path / "half")
    assert open_rows(tmp_path / "half" / "train.arrow").column_names == ["text", "label", KEY]


def test_a_part_without_rows_can_be_opened(tmp_path: Path) -> None:
    write_set(tmp_path / "train.arrow", range(40))
    parts = [tmp_path / "none.arrow", tmp_path / "all.arrow"]
    write_parts([tmp_path / "train.arrow"], parts, lambda batch: [np.full(batch.num_rows, on) for on in (False, True)])
    assert [len(open_rows(part)) for part in parts] == [0, 40]


# --- what is said of them ---------------------------------------------------------------------------------------------


def scored(*scores: float, **more: Any) -> CrossValidated:
    folds = [
        FoldScore(number=n, trained=100, rows=50, metrics={"f1_macro": 0.5, "accuracy": score}, seconds=1.5, **more)
        for n, score in enumerate(scores, start=1)
    ]
    return cross_validated("accuracy", "hash", folds)


def test_the_sentence_says_mean_and_spread() -> None:
    found = scored(0.8, 0.9, 0.85)
    assert found.sentence == (
        "Over 3 folds accuracy is 85.0% in the mean, with a standard deviation of 5.0 points: from 80.0% to 90.0%."
    )
    assert (found.rows, found.seconds, found.means["accuracy"]) == (150, 4.5, pytest.approx(0.85))
    assert spread_rows(found)[0] == ("accuracy", "85.0%", "5.0 points", "80.0%", "90.0%")
    assert fold_rows(found)[1] == ("2", "100", "50", "90.0%", "50.0%", "1.5")
    assert found.notes == ()


def test_report_and_page_show_folds_and_no_markup_of_a_label(tmp_path: Path) -> None:
    found = scored(0.8, 0.9, untrained=(EVIL,))
    html = render_report(replace(report_input(tmp_path), folds=found))
    assert 'id="folds"' in html and "Over 2 folds" in html and "<script" not in html
    assert "folds 1, 2: labels are in the rows that a fold validates" in html
    assert 'id="folds"' not in render_report(report_input(tmp_path))
    page = folds_page(found)
    assert "Over 2 folds" in page and "<script" not in page
    chart = folds_chart(found)
    assert chart.points[0][1] > chart.mean > chart.points[1][1] and chart.height > 0
    flat = folds_chart(scored(0.5, 0.5, 0.5))
    assert flat.height == 0 and len(flat.points) == 3


# --- a small one, trained ---------------------------------------------------------------------------------------------


def opened(folder: Path, base: Path, *changes: str) -> Run:
    (folder / "tickets").mkdir()
    write_tickets(folder / "tickets" / "1.csv", tickets(240, seed=1))
    (folder / "desk.yaml").write_text(PIPELINE.format(base=base))
    return open_run(load_pipeline(folder / "desk.yaml", changes), actor="")


@pytest.mark.slow
def test_folds_are_scored_without_a_held_out_row_found_again_and_nothing_heavy_stays(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = opened(tmp_path, tiny_base, "cross_validation.folds=2", "train.epochs=3")
    base, snapshot = find_base(run), take_snapshot(run, look(run))
    split = split_rows(run, snapshot, check_quality(run, snapshot, None))
    (split.folder / "test.arrow").unlink()
    (snapshot.folder / "source.arrow").unlink()
    first = cross_validate(run, base, split)
    assert [fold.number for fold in first.folds] == [1, 2]
    assert first.rows == split.record.rows["train"] + split.record.rows["validation"]
    assert all(0 < fold.metrics["accuracy"] <= 1 for fold in first.folds)
    stages = tmp_path / ".contender" / "stages"
    for heavy in ("folds", "train", "predict"):
        assert not list((stages / heavy).glob("[!.]*")), heavy
    assert cross_validate(run, base, split) == first
    assert [stage.cached for stage in run.stages if stage.name == "cross-validate"] == [False, True]
    other = opened_again(run, "train.epochs=2")
    assert set(Folds(run, base, split).keys).isdisjoint(Folds(other, base, split).keys)
    assert Folds(opened_again(run, "promote.floors.accuracy=0.1"), base, split).keys == Folds(run, base, split).keys


def opened_again(run: Run, change: str) -> Run:
    changes = ("cross_validation.folds=2", "train.epochs=3", change)
    return open_run(load_pipeline(Path(run.pipeline.folder) / "desk.yaml", changes), actor="")


@pytest.mark.slow
@pytest.mark.timeout(600)  # six trainings, each in a process of its own
def test_a_trial_is_scored_by_its_folds_and_the_same_after_a_kill_among_them(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    space = '{"train.learning_rate": [0.001, 0.01]}'
    search = f"search={{method: grid, trials: 2, prune: median, space: {space}}}"
    run = opened(tmp_path, tiny_base, "cross_validation.folds=2", "train.epochs=2", search)
    base, snapshot = find_base(run), take_snapshot(run, look(run))
    split = split_rows(run, snapshot, check_quality(run, snapshot, None))
    (split.folder / "test.arrow").unlink()
    (snapshot.folder / "source.arrow").unlink()

    class Killed(BaseException):
        pass

    def kill(note: Note) -> None:
        if "fold 2 of 2" in note.text and not killed:
            killed.append(note)
            raise Killed

    killed: list[Note] = []
    with listening(kill), pytest.raises(Killed):
        try_next(run, (base,), split, ())
    assert killed and (tmp_path / ".contender" / "stages" / "fold").exists()
    first = try_next(run, (base,), split, ())
    elsewhere = replace(run, workspace=Workspace(tmp_path / "elsewhere"))
    assert _same(try_next(elsewhere, (base,), split, ())) == _same(first)

    assert first.folds is not None and first.score == first.folds.means["accuracy"] == first.metrics["accuracy"]
    assert first.spread == first.folds.spreads["accuracy"].sd and len(first.curve) == 2
    report = conclude_search(run, split, (first,), 1.0)
    assert report.set == "2 folds" and report.rows == split.record.rows["train"] + split.record.rows["validation"]
    assert "on 2 folds" in report.sentence and all("±" in row[2] for row in leaderboard(report))
    assert not list((tmp_path / ".contender" / "stages" / "folds").glob("[!.]*"))


def _same(trial: TriedTrial) -> dict[str, Any]:
    """What must not differ between two runs: all but how long it took."""
    found = trial.model_dump(exclude={"seconds", "folds"})
    assert trial.folds is not None
    return found | {"folds": [fold.model_dump(exclude={"seconds"}) for fold in trial.folds.folds]}
