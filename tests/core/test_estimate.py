"""What `contender check --probe` reckons, and on which rows: arithmetic alone, no training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.data.lengths import lengths_of, spread
from contender.durations import Durations, EpochTime
from contender.estimate import Speed, estimated, measured, seconds_of, steps_of, warnings_of
from contender.records import TrainReport
from contender.resourcespec import Budget

MACHINE = {"processor": "x", "cores": "2"}


def report(*epochs: EpochTime, seconds: float | None = None, **changes: object) -> TrainReport:
    """What a trial tells; without `seconds` nothing but these epochs took time."""
    took = sum(one.seconds + one.evaluation_seconds for one in epochs) if seconds is None else seconds
    given = {
        "steps": sum(one.steps for one in epochs),
        "epochs": float(len(epochs)),
        "examples": 0,
        "seconds": took,
        "examples_per_second": 0.0,
        "learning_rate": 1e-4,
        "batch_size": 8,
        "micro_batch_size": 8,
        "precision": "fp32",
        "precision_reason": "",
        "device": "cpu",
        "hardware": MACHINE,
        "durations": Durations(preparing=5.0, of_rows=3.0, epochs=epochs),
    }
    return TrainReport.model_validate(given | changes)


def epoch(
    steps: int, step: float, before: float = 0.0, rows: int = 80, evaluated: int = 20, row: float = 0.0
) -> EpochTime:
    return EpochTime(
        rows=rows,
        steps=steps,
        seconds=before + steps * step,
        after_first=(steps - 1) * step,
        evaluated=evaluated,
        evaluation_seconds=evaluated * row,
    )


def test_a_training_whose_every_part_takes_what_the_trial_took_is_estimated_exactly() -> None:
    trial = report(epoch(10, 0.5, before=7.25, row=0.01), *[epoch(10, 0.5, before=0.25, row=0.01)] * 2)
    found = estimated(trial, (80, 20), 800, 100, 5, 8)
    assert found.steps == 500
    assert found.seconds == pytest.approx(7 + 500 * 0.5 + 5 * (0.25 + 100 * 0.01))
    assert found.hours == pytest.approx(found.seconds / 3600)
    assert found.preparing_seconds == pytest.approx(2 + 900 * 0.03)
    assert (found.energy_kwh, found.cost, found.micro_batch_size) == (None, None, None)


def test_what_keeping_the_best_weights_took_is_paid_once_an_epoch_however_many_rows_there_are() -> None:
    trial = report(*[epoch(10, 0.5)] * 3, seconds=15 + 3 * 2.0)
    assert measured(trial, 80, 20).epoch == pytest.approx(2.0)
    assert estimated(trial, (80, 20), 8_000, 20, 1, 8).seconds == pytest.approx(1_000 * 0.5 + 2)


def test_one_slow_epoch_of_a_trial_decides_nothing() -> None:
    trial = report(epoch(10, 0.5), epoch(10, 0.5), epoch(10, 5.0), epoch(10, 0.5))
    assert measured(trial, 80, 20).step == pytest.approx(0.5)


def test_a_trial_that_was_cut_off_in_its_first_epoch_tells_of_a_step_by_those_behind_the_first() -> None:
    speed = measured(report(epoch(4, 30.0, before=100.0)), 80, 0)
    assert (speed.step, speed.start, speed.epoch) == pytest.approx((30.0, 100.0, 0.0))
    assert measured(report(epoch(1, 30.0)), 8, 0).step == pytest.approx(30.0)


def test_packing_makes_fewer_steps() -> None:
    trial = report(*[epoch(5, 1.0, rows=40)] * 3)
    assert estimated(trial, (80, 20), 800, 0, 1, 8).steps == 50


def test_energy_and_cost_follow_the_time() -> None:
    trial = report(*[epoch(10, 0.5)] * 3, energy_kwh=0.015)
    found = estimated(trial, (80, 20), 800, 0, 2, 8)
    assert found.energy_kwh == pytest.approx(0.001 * found.seconds)
    assert "costs" not in found.text
    priced = found.at(3.6)
    assert (priced.price_per_hour, priced.cost) == (3.6, pytest.approx(0.001 * found.seconds))
    assert "costs 0.1" in priced.text and "about 1 min 40 s" in priced.text


def test_a_training_beyond_its_budget_is_warned_of() -> None:
    found = estimated(report(*[epoch(10, 0.5)] * 3), (80, 20), 800, 0, 2, 8)
    half, twice = Budget(hours=found.hours / 2), Budget(hours=found.hours * 2)
    (said,) = warnings_of(found, half)
    assert "resources.budget" in said and "wait" in said
    assert not [*warnings_of(found, twice), *warnings_of(found, Budget()), *warnings_of(None, half)]
    (said,) = warnings_of(found, Budget(cost=2 * found.hours, price_per_hour=1.0, when_spent="judge"), trainings=3)
    assert "3 trainings" in said and "best model so far" in said
    (said,) = warnings_of(found, Budget(hours=9 * found.hours), trainings=2, folds=5)
    assert said.startswith("2 trainings, none stopped early, with 5 folds each would take about")
    assert not [*warnings_of(found, Budget(hours=11 * found.hours), trainings=2, folds=5)]
    drawing = found.model_copy(update={"energy_kwh": 0.2})
    assert len([*warnings_of(drawing, Budget(kwh=0.1))]) == 1 and not [*warnings_of(found, Budget(kwh=0.1))]


def test_the_error_is_of_the_epochs_that_were_trained_and_on_the_same_hardware_alone() -> None:
    found = estimated(report(*[epoch(10, 0.5)] * 3), (80, 20), 800, 0, 5, 8)
    took = report(epochs=2.0, seconds=80.0)
    assert found.error(took)["estimated_seconds"] == pytest.approx(100.0)
    assert found.error(took)["estimate_error"] == pytest.approx(0.25)
    assert found.error(took.model_copy(update={"hardware": {"processor": "another"}})) == {}


parts = st.floats(0.0, 1e3)
speeds = st.builds(
    Speed,
    start=parts,
    step=st.floats(1e-6, 1e3),
    epoch=parts,
    evaluation=parts,
    preparing=parts,
    row=parts,
    rows=st.just(1.0),
)
counts = st.integers(1, 10**6)


@given(speeds, counts, st.integers(0, 10**5), st.integers(1, 512), st.floats(0.01, 50), st.floats(0, 50))
def test_more_epochs_never_take_less(
    speed: Speed, rows: int, validation: int, batch: int, epochs: float, more: float
) -> None:
    less = seconds_of(speed, rows, validation, batch, epochs)
    assert seconds_of(speed, rows, validation, batch, epochs + more) >= less
    assert seconds_of(speed, rows + 1, validation + 1, batch, epochs) >= less


@given(speeds, st.integers(1, 1000), st.integers(1, 64), st.integers(1, 20), st.integers(2, 10))
def test_beside_the_start_and_what_an_epoch_costs_the_seconds_grow_as_the_rows_do(
    speed: Speed, steps: int, batch: int, epochs: int, times: int
) -> None:
    fixed = speed.start + epochs * speed.epoch
    once = seconds_of(speed, steps * batch, 10, batch, epochs) - fixed
    assert seconds_of(speed, times * steps * batch, times * 10, batch, epochs) - fixed == pytest.approx(
        times * once, rel=1e-6, abs=1e-4
    )


@given(st.integers(1, 5_000), st.integers(1, 64), st.integers(1, 9))
def test_steps_are_those_of_whole_epochs(rows: int, batch: int, epochs: int) -> None:
    assert steps_of(rows, batch, epochs) == epochs * math.ceil(rows / batch)


lengths = st.lists(st.integers(0, 5_000), min_size=0, max_size=400).map(lambda found: np.array(found, np.int64))


@given(lengths, st.integers(0, 500), st.integers(1, 40))
def test_a_sample_has_as_many_rows_as_asked_for_each_once(lengths: np.ndarray, count: int, size: int) -> None:
    taken = spread(lengths, count, size)
    assert len(taken) == min(count, len(lengths))
    assert np.array_equal(taken, np.unique(taken))


@given(st.integers(0, 2**32), st.integers(4, 16))
def test_a_sample_is_of_whole_batches_and_as_long_as_all_rows_are(seed: int, batches: int) -> None:
    dice = np.random.default_rng(seed)
    lengths = np.minimum(dice.geometric(0.02, 4_000), 400)
    taken = spread(lengths, batches * 32, 32)
    within = np.sort(lengths[taken]).reshape(batches, 32)
    assert np.diff(within[:-1, [0, -1]]).max() < np.ptp(lengths) / 4, "a batch is of like length"
    assert lengths[taken].mean() == pytest.approx(lengths.mean(), rel=0.2)


def test_rows_without_a_text_or_a_label_are_none_and_labels_have_no_length(tmp_path: Path) -> None:
    table = pa.table({"text": ["four", None, "", "sixty", "go"], "label": ["a", "b", "c", None, "long label"]})
    with pa.OSFile(str(tmp_path / "rows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    assert lengths_of(tmp_path / "rows", ["text", "label"], ["text"]).tolist() == [4, -1, -1, -1, 2]
    assert spread(np.array([], np.int64), 5, 2).tolist() == []
