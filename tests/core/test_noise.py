"""What the seed alone moves: its arithmetic, its words, and where it is drawn and where it is not."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from desk import PIPELINE
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy import noise_report as report

from contender.errors import Damaged, DataError, UsageError
from contender.loading import load_pipeline
from contender.noise import check_runs, size, spread
from contender.records import SplitReport
from contender.registry import Registry
from contender.reporting.charts import PLOT_END, PLOT_START, interval_plots
from contender.reporting.comparison import MetricRow
from contender.run import open_run
from contender.stages.noise import with_other_seeds
from contender.store import MemoryStore
from contender.workspace import Staged


@settings(deadline=None)  # the first example pays for scipy's import
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_spread_is_what_the_textbook_says(values: list[float]) -> None:
    found = spread(values)
    assert math.isclose(found.sd, statistics.stdev(values), abs_tol=1e-12)
    assert math.isclose(found.band, 2 * math.sqrt(2) * found.sd)
    assert found.sd_low <= found.sd <= found.sd_high or found.sd == 0
    assert found.low <= found.high and found.values == tuple(values)


def test_the_bounds_of_a_deviation_hold_as_often_as_they_say() -> None:
    dice = np.random.default_rng(0)
    found = [spread(dice.normal(0.9, 0.01, 5).tolist()) for _ in range(1000)]
    held = np.mean([one.sd_low <= 0.01 <= one.sd_high for one in found])
    assert abs(held - 0.95) < 3 * (0.95 * 0.05 / 1000) ** 0.5


def test_of_two_trainings_that_differ_by_nothing_but_the_seed_few_lie_outside_the_band() -> None:
    dice = np.random.default_rng(1)
    band = 2 * math.sqrt(2) * 0.01
    outside = np.mean(np.abs(dice.normal(0, 0.01, 20_000) - dice.normal(0, 0.01, 20_000)) > band)
    assert outside == pytest.approx(0.0455, abs=0.005)


def test_the_sentence_says_what_a_difference_must_exceed() -> None:
    values = [0.90, 0.906, 0.912, 0.903, 0.909]
    assert report(values).sentence == (
        "Seeds alone move accuracy by 0.47 points (standard deviation over 5 runs); a difference between two trainings below "
        "1.3 points (2·√2·sd) may be the seed."
    )
    assert report(values, models=3).sentence.endswith("Only 3 of the 5 models differ.")


def test_seeds_that_move_nothing_are_told_as_that_and_never_as_a_deviation_of_nothing() -> None:
    same = report([0.9] * 3, models=1)
    assert same.sentence.startswith("All 3 seeds end in the same model, byte by byte")
    unseen = report([0.9] * 3)
    assert unseen.sentence.startswith(
        "The 3 seeds end in 3 different models that all have the same accuracy on 1,200 rows"
    )


def test_sizes_keep_two_digits_where_little_moves() -> None:
    shown = [size("accuracy", number) for number in (0.0061, 0.123, 0.00042, 0.0, 0.0049)]
    assert shown == ["0.6 points", "12.3 points", "0.042 points", "0.0 points", "0.49 points"]
    assert [size("log_loss", number) for number in (0.0123, 0.00001234)] == ["0.0123", "0.000012"]


@pytest.mark.parametrize("runs", [1, 0, -1, 101, True])
def test_a_number_of_runs_that_is_none_names_what_is_allowed(runs: int) -> None:
    with pytest.raises(UsageError, match="from 2 to 100"):
        check_runs(runs)


def split_of(rows: dict[str, int]) -> Staged[SplitReport]:
    found = SplitReport(
        rows=rows, digests={}, removed_leaks=0, removed_duplicates=0, labels=("a", "b"), label_counts={}
    )
    return Staged("split", "k", found, Path(), cached=False, seconds=0.0)


def test_the_pipelines_own_seed_comes_first_and_the_largest_one_is_followed_by_the_smallest(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base="unused"))
    run = open_run(load_pipeline(tmp_path / "desk.yaml", (f"train.seed={2**31 - 2}",)), actor="")
    seeded = with_other_seeds(run, 4, split_of({"train": 9, "test": 3}))
    assert [one.pipeline.spec.train.seed for one in seeded] == [2**31 - 2, 2**31 - 1, 0, 1]
    assert seeded[0].pipeline == run.pipeline
    assert all(one.stages is run.stages for one in seeded)
    with pytest.raises(DataError, match="no row is in test"):
        with_other_seeds(run, 2, split_of({"train": 9, "test": 0}))


# --- in the registry --------------------------------------------------------------------------------------------------


def test_a_record_that_stands_stays_and_the_newest_one_is_found() -> None:
    registry = Registry(MemoryStore(), "desk")
    assert registry.newest_noise() == (None, [])
    first = registry.keep_noise(report([0.8, 0.9], key="a"))
    assert registry.keep_noise(report([0.1, 0.2], key="a", at="2027-01-01T00:00:00.000Z")) == first
    newer = registry.keep_noise(report([0.8, 0.85], key="0", at="2026-12-01T00:00:00.000Z"))
    assert registry.newest_noise() == (newer, [])
    with pytest.raises(UsageError):
        registry.keep_noise(report([0.8, 0.9], key="../x"))


def test_a_damaged_record_hides_no_other() -> None:
    store = MemoryStore()
    registry = Registry(store, "desk")
    kept = registry.keep_noise(report([0.8, 0.9], key="a"))
    registry.keep_noise(report([0.8, 0.9], key="b", at="2027-01-01T00:00:00.000Z"))
    store.put("desk/noise/b.json", store.get("desk/noise/b.json").replace(b"0.9", b"0.7"))
    newest, (fault,) = registry.newest_noise()
    assert newest == kept
    assert fault.startswith("desk/noise/b.json has other content")
    with pytest.raises(Damaged):
        registry.keep_noise(report([0.8, 0.9], key="b"))


# --- drawn ------------------------------------------------------------------------------------------------------------


def row(name: str, low: float, high: float, champion: float | None = 0.8) -> MetricRow:
    centre = (low + high) / 2
    return MetricRow(name, name, True, True, (champion or 0) + centre, champion, low, high, None, "95%")


def test_a_band_lies_around_zero_and_the_drawing_reaches_it() -> None:
    drawn, other = interval_plots([row("accuracy", -0.01, 0.02), row("recall", 0.0, 0.01)], {}, {"accuracy": 0.05})
    assert drawn.band is not None and drawn.zero is not None and other.band is None
    start, width = drawn.band
    assert start + width / 2 == pytest.approx(drawn.zero, abs=0.02)
    assert PLOT_START < start < drawn.low < drawn.high < start + width < PLOT_END
    assert drawn.label.endswith("the seed alone may move it by 0.0500")


def test_no_band_where_nothing_is_compared_or_nothing_moves() -> None:
    alone, still = (
        interval_plots([row("accuracy", 0.7, 0.8, champion=None)], {}, {"accuracy": 0.05}),
        interval_plots([row("accuracy", -0.1, 0.2)], {}, {"accuracy": 0.0}),
    )
    assert (alone[0].band, still[0].band) == (None, None)
