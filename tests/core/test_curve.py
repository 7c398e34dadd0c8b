"""Would more data help: what is refused, which rows a fraction holds, the law that is fitted, and what is said of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from desk import PIPELINE
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.curve import (
    CurveReport,
    Doubling,
    Law,
    answered,
    check_fractions,
    check_rows,
    check_seeds,
    curve_of,
    curve_rows,
    fit,
    parse_fractions,
)
from contender.data.fractions import mixed, take_fraction
from contender.data.rowfile import open_rows
from contender.data.setfile import KEY, SetWriter
from contender.errors import UsageError
from contender.evaluation.metrics import metric
from contender.evaluation.outcomes import Outcomes, from_arrays
from contender.judging.resampling import bootstrap, together
from contender.loading import load_pipeline
from contender.names import TASKS, Task
from contender.plan import curve_stages
from contender.records import SplitReport
from contender.reporting.charts import BOTTOM, HEIGHT, TOP
from contender.reporting.curve import render_curve, rows_chart
from contender.run import Run, open_run
from contender.showing.series import curve_page
from contender.stages.curve import check_validation, planned
from contender.stages.curve import take_fraction as stage
from contender.workspace import Staged

FRACTIONS = (0.1, 0.2, 0.5, 1.0)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "there are no fractions"),
        (" ", "there are no fractions"),
        ("0,0.5,1", "0 is no fraction"),
        ("0.5,1.5", "1.5 is no fraction"),
        ("-0.1,1", "-0.1 is no fraction"),
        ("nan,1", "nan is no fraction"),
        ("inf", "inf is no fraction"),
        ("0.5,0.5,1", "the fraction 0.5 is given twice"),
        ("1,0.5", "the fraction 0.5 is smaller than 1"),
        ("0.1;0.5", "'0.1;0.5' are no fractions"),
        ("0.1,,1", "'0.1,,1' are no fractions"),
        ("10%,1", "'10%,1' are no fractions"),
    ],
)
def test_fractions_that_are_none_are_refused_with_what_is_allowed(given: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_fractions(given)
    assert refused.value.what.startswith(said) and "0.1,0.2,0.5,1" in refused.value.fix
    assert refused.value.exit_code == 2


def test_fractions_are_numbers_between_commas() -> None:
    assert parse_fractions(" 0.1, .5,1 ") == (0.1, 0.5, 1.0) == check_fractions([0.1, 0.5, 1])
    assert parse_fractions("1") == (1.0,)


@pytest.mark.parametrize("seeds", [1, 0, -1, 21, True])
def test_a_number_of_seeds_that_is_none_names_what_is_allowed(seeds: int) -> None:
    with pytest.raises(UsageError, match="from 2 to 20"):
        check_seeds(seeds)


def test_a_fraction_with_too_few_rows_or_with_the_same_ones_is_refused() -> None:
    check_rows([0.1, 1.0], [10, 100], 100)
    with pytest.raises(UsageError, match=r"the fraction 0\.1 holds 9 of 90 training rows: fewer than 10") as refused:
        check_rows([0.1, 1.0], [9, 90], 90)
    assert "larger --fractions" in refused.value.fix
    with pytest.raises(UsageError, match=r"the fraction 0\.2 holds the same 30 of 300 training rows as 0\.1"):
        check_rows([0.1, 0.2, 1.0], [30, 30, 300], 300)


def run_of(tmp_path: Path, *changes: str) -> Run:
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base="unused"))
    return open_run(load_pipeline(tmp_path / "desk.yaml", changes), actor="")


def test_without_validation_rows_there_is_nothing_to_score_on(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    check_validation(run.pipeline)
    with pytest.raises(UsageError, match=r"data\.split\.validation is 0"):
        check_validation(run_of(tmp_path, "data.split.validation=0").pipeline)
    found = SplitReport(
        rows={"train": 50, "validation": 0},
        digests={},
        removed_leaks=0,
        removed_duplicates=0,
        labels=(),
        label_counts={},
    )
    empty = Staged("split", "k", found, Path(), cached=False, seconds=0.0)
    with pytest.raises(UsageError, match="no row is in validation"):
        planned(run, empty, [empty], [1.0], 2)


# --- which rows -------------------------------------------------------------------------------------------------------


def write_train(
    folder: Path, targets: Sequence[str], keys: Sequence[int], task: Task = TASKS["text-classification"]
) -> Path:
    """A split's training and validation set with one row for each target."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    columns = {role: role for role in task.roles}
    cells = {role: [f"example {key}" for key in keys] for role in task.roles} | {task.target: list(targets)}
    for name in ("train", "validation"):
        writer = SetWriter(folder / f"{name}.arrow", columns, ("channel",), task)
        writer.add(pa.RecordBatch.from_pydict(cells | {"channel": ["mail"] * len(keys)}), np.array(keys, np.uint64))
        writer.close()
    return folder


def taken(
    split: Path, fraction: float, out: Path, task: Task = TASKS["text-classification"]
) -> list[dict[str, object]]:
    out.mkdir()
    part = take_fraction(split, fraction, task.roles, task, out)
    rows = open_rows(out / "train.arrow").to_list()
    assert part.rows == len(rows)
    return rows


KEYS = st.lists(st.integers(2**63, 2**64 - 1), min_size=1, max_size=60)  # of training rows: a part of the range


@settings(deadline=None, max_examples=40)
@given(KEYS, st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted), st.integers(1, 6))
def test_a_row_of_a_fraction_is_in_every_larger_one_with_its_key_and_no_label_is_missing(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], fractions: list[float], labels: int
) -> None:
    folder = tmp_path_factory.mktemp("fractions")
    split = write_train(folder / "split", [f"l{at % labels}" for at in range(len(keys))], keys)
    every = open_rows(split / "train.arrow").to_list()
    small, large = (taken(split, fraction, folder / str(at)) for at, fraction in enumerate(fractions))
    assert all(row in large for row in small) and all(row in every for row in large)
    assert {row["label"] for row in small} == {row["label"] for row in every}
    for rows in (small, large):
        held = {row[KEY] for row in rows}
        assert rows == [row for row in every if row[KEY] in held], "keys whole, rows in their order, all columns"


def test_a_fraction_holds_about_its_share_of_the_rows_and_of_each_label(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    keys = dice.integers(2**62, 2**64, 4000, dtype=np.uint64, endpoint=False)
    split = write_train(tmp_path / "split", ["often" if at % 4 else "seldom" for at in range(4000)], keys.tolist())
    rows = taken(split, 0.2, tmp_path / "part")
    assert abs(len(rows) - 800) < 4 * math.sqrt(4000 * 0.16)
    assert abs(sum(row["label"] == "seldom" for row in rows) - 200) < 4 * math.sqrt(1000 * 0.16)
    assert open_rows(tmp_path / "part" / "validation.arrow").num_rows == 4000


def test_more_data_moves_no_row_out_of_a_fraction_that_its_own_hash_has_in_it(tmp_path: Path) -> None:
    keys = list(range(2**63, 2**63 + 400))
    before = taken(write_train(tmp_path / "a", ["x"] * 200, keys[:200]), 0.3, tmp_path / "1")
    after = taken(write_train(tmp_path / "b", ["x"] * 400, keys), 0.3, tmp_path / "2")
    assert [row for row in after if int(str(row[KEY])) < 2**63 + 200] == before


@pytest.mark.parametrize(("task", "of"), [("multi-label-classification", "set"), ("token-classification", "list")])
def test_of_sets_and_of_lists_every_label_in_them_stays(tmp_path: Path, task: str, of: str) -> None:
    facts = TASKS[task]
    targets = [json.dumps(["a", "rare"] if at == 7 else ["a"]) for at in range(100)]
    split = write_train(tmp_path / "split", targets, [2**63 + at for at in range(100)], facts)
    rows = taken(split, 0.02, tmp_path / "part", facts)
    assert facts.labels == of and any("rare" in str(row[facts.target]) for row in rows) and len(rows) < 10


def test_mixed_hashes_of_a_narrow_range_are_spread_over_all_of_it() -> None:
    found = mixed(np.arange(2**63, 2**63 + 10_000, dtype=np.uint64)).astype(np.float64) / 2.0**64
    counts, _ = np.histogram(found, bins=10, range=(0, 1))
    assert len(np.unique(found)) == 10_000 and abs(counts - 1000).max() < 150


def test_a_part_is_a_split_of_its_own_and_the_whole_is_the_split_itself(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    folder = write_train(
        run.workspace.root / "stages" / "split" / "k", ["a", "b"] * 200, [2**63 + at for at in range(400)]
    )
    report = SplitReport(
        rows={"train": 400, "validation": 400, "test": 9}, digests={"train": "t", "validation": "v", "test": "x"},
        removed_leaks=0, removed_duplicates=0, labels=("a", "b"), label_counts={"train": {"a": 200, "b": 200}},
    )  # fmt: skip
    split = Staged("split", "k", report, folder, cached=False, seconds=0.0)
    assert stage(run, split, 1.0) is split
    part = stage(run, split, 0.3)
    assert set(part.record.rows) == {"train", "validation"} and 80 < part.record.rows["train"] < 160
    assert part.record.digests["validation"] == "v" and part.record.digests["train"] not in ("t", "")
    assert stage(run, split, 0.3).cached and part.record.label_counts == report.label_counts
    whole = planned(run, split, [part, split], [0.3, 1.0], 2)
    assert [one.pipeline.spec.train.seed for one, _, _ in whole] == [17, 18, 17, 18]
    assert [rows.key for _, rows, _ in whole] == [part.key, part.key, "k", "k"]
    assert whole[3][2] == "400 rows, 4 of 4"


def test_the_stages_that_are_shown_ahead_make_all_parts_before_the_first_training() -> None:
    assert curve_stages((0.5, 1.0), 2)[3:] == ("fraction", *("train", "curve") * 4)


# --- the law ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 0.5), st.floats(0.1, 1.5), st.floats(0, 0.3))
def test_a_law_without_noise_is_found_again(a: float, b: float, c: float) -> None:
    shares = [0.05, 0.1, 0.2, 0.5, 1.0]
    truth = Law(a=a, b=b, c=c)
    found = fit(shares, np.array([truth.missing(share) for share in shares]))
    assert found is not None
    assert found.halved == pytest.approx(truth.halved, rel=0.02, abs=1e-4)
    assert found.missing(1) == pytest.approx(truth.missing(1), rel=1e-3, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=8))
def test_more_rows_never_bring_less_and_never_more_than_all_that_is_missing(missing: list[float]) -> None:
    found = fit(np.linspace(0.1, 1, len(missing)).tolist(), np.array(missing))
    assert found is None or (found.halved >= 0 and found.missing(2) >= 0)


def report(
    truth: Law,
    seed: int = 0,
    sd: float = 0.005,
    rows: int = 1000,
    fractions: Sequence[float] = FRACTIONS,
    seeds: int = 3,
    primary: str = "accuracy",
    draws: int = 300,
) -> CurveReport:
    """The report on trainings that follow a law: chance has drawn seeds, and validation rows that all trainings share."""
    dice = np.random.default_rng(seed)
    span = metric(primary).span
    expected = np.array([truth.missing(fraction) for fraction in fractions])[:, None]
    missing = np.clip(expected + dice.normal(0, sd, (len(fractions), seeds)), 0, 1)
    luck = dice.random(rows)  # a row that is hard for one model is hard for the others
    wrong = luck[None, None] < missing[..., None]
    picks = dice.integers(0, rows, (draws, rows))
    of_draws = np.stack([wrong[..., pick].mean(axis=-1) for pick in picks], axis=-1)
    values, drawn = wrong.mean(axis=-1), of_draws
    if metric(primary).higher_is_better:
        values, drawn = 1 - values, 1 - drawn
    counts = [round(8000 * fraction) for fraction in fractions]
    names = [[f"m{at}{seed}" for seed in range(seeds)] for at in range(len(fractions))]
    return curve_of("desk", primary, span, 8000, rows, range(17, 17 + seeds), fractions, counts, names, values, drawn)


@pytest.mark.slow
def test_the_interval_of_what_twice_the_rows_bring_holds_about_as_often_as_it_says() -> None:
    truth = Law(a=0.08, b=0.5, c=0.03)
    found = [report(truth, seed, draws=100).doubling for seed in range(30)]
    held = [one is not None and one.low <= truth.halved <= one.high for one in found]
    assert np.mean(held) >= 0.8


def test_a_steep_curve_says_yes_and_how_much() -> None:
    found = report(Law(a=0.15, b=0.6, c=0.02), rows=4000, sd=0.002)
    assert found.answer == "yes" and found.doubling is not None and found.doubling.rows == 16_000
    assert found.doubling.low <= found.doubling.gain <= found.doubling.high
    assert found.sentence.startswith(
        "Would more data help? Yes: 16,000 training rows, twice as many, would bring about 5."
    )
    assert "points of accuracy (95% interval " in found.sentence and "that is more than the" in found.sentence


@pytest.mark.parametrize(
    ("gain", "low", "high", "noise", "expected"),
    [
        (0.03, 0.01, 0.05, 0.02, "yes"),
        (0.03, 0.001, 0.05, 0.02, "cannot be told"),  # it may be next to nothing
        (0.015, 0.01, 0.03, 0.02, "cannot be told"),
        (0.015, 0.01, 0.02, 0.02, "hardly"),
        (0.004, 0.0, 0.005, 0.0, "hardly"),  # of seeds that move nothing, little is little
        (0.004, 0.003, 0.006, 0.0, "cannot be told"),
        (0.008, 0.006, 0.01, 0.0, "yes"),
    ],
)
def test_the_answer_weighs_the_gain_and_its_interval_with_what_the_seed_moves_and_what_is_little(
    gain: float, low: float, high: float, noise: float, expected: str
) -> None:
    found = Doubling(rows=2, value=0.9, value_low=0.8, value_high=1, gain=gain, low=low, high=high)
    assert answered("accuracy", 4, found, noise, little=0.005)[0] == expected


def test_bounds_hold_what_seeds_move_where_validation_rows_are_many_and_are_never_narrower_for_a_lucky_fraction() -> (
    None
):
    values = np.array([[0.3, 0.4, 0.5], [0.5, 0.6, 0.7], [0.65, 0.7, 0.75], [0.8, 0.8, 0.8]])
    drawn = np.repeat(values[..., None], 400, axis=-1)  # rows without end: none of their draws differs
    rows, names = [50, 100, 200, 400], [["m"] * 3] * 4
    found = curve_of(
        "desk", "accuracy", (0.0, 1.0), 400, 10**6, [1, 2, 3], [0.125, 0.25, 0.5, 1], rows, names, values, drawn
    )
    widths = [one.high - one.low for one in found.scores]
    assert widths[0] == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(3), rel=0.15)
    assert widths[3] == pytest.approx(widths[2], rel=0.2) and found.scores[3].sd == 0
    assert found.doubling is not None and found.doubling.value_high - found.doubling.value_low > widths[3] / 2


def test_a_flat_curve_says_hardly() -> None:
    found = report(Law(a=0.0, b=1.0, c=0.1), rows=4000, sd=0.004)
    assert found.answer == "hardly" and found.sentence.startswith("Would more data help? Hardly: ")


def test_what_a_few_rows_and_a_wide_interval_cannot_tell_is_not_told() -> None:
    found = report(Law(a=0.05, b=0.3, c=0.02), rows=200, sd=0.004, draws=100)
    assert found.answer == "cannot be told" and "too wide" in found.why
    few = report(Law(a=0.1, b=0.6, c=0.02), fractions=(0.5, 1.0))
    assert (few.answer, few.law, few.doubling) == ("cannot be told", None, None)
    assert few.sentence == ("Would more data help? It cannot be told: 2 fractions show no curve; give 4 or more.")


def test_where_the_largest_fraction_is_not_all_rows_the_law_leads_from_there_to_twice_all_of_them() -> None:
    truth = Law(a=0.1, b=0.5, c=0.05)
    found = report(truth, rows=20_000, sd=0.0005, fractions=(0.05, 0.1, 0.2, 0.5), draws=60)
    assert found.doubling is not None and found.doubling.rows == 16_000
    assert found.doubling.value == pytest.approx(1 - truth.missing(2), abs=0.01)
    assert found.doubling.gain == pytest.approx(truth.halved, abs=0.01)


def test_where_less_is_better_a_gain_is_less() -> None:
    found = report(Law(a=0.1, b=0.6, c=0.02), rows=2000, primary="log_loss")
    assert found.doubling is not None and found.doubling.value < found.scores[-1].mean
    assert found.doubling.gain > 0


def test_the_drawing_has_a_line_for_each_fraction_and_for_what_is_extrapolated() -> None:
    found = report(Law(a=0.15, b=0.6, c=0.02))
    rows = curve_rows(found)
    assert [row[0] for row in rows] == ["0.1", "0.2", "0.5", "1", "2 (fit)"] and rows[-1][1] == "16,000"
    places = [row[-1].index("●") for row in rows]
    assert places == sorted(places) and places[0] < places[-1], "more is further to the right"
    assert all(len(row[-1]) <= 32 for row in rows)
    assert rows[-1][3] == "{:.4f} … {:.4f}".format(*found.ends)
    page = curve_page(found)
    assert "Would more data help?" in page and "16,000" in page and "seed 19" in page


@pytest.mark.parametrize("primary", ["accuracy", "log_loss"])
def test_the_page_draws_every_score_and_where_the_law_leads(primary: str) -> None:
    found = report(Law(a=0.15, b=0.6, c=0.02), primary=primary, draws=60)
    drawn = rows_chart(found)
    assert len(drawn.means) == len(drawn.whiskers) == 5
    assert [x for x, _ in drawn.means] == sorted(x for x, _ in drawn.means)
    for (_, mean), (_, low, high) in zip(drawn.means, drawn.whiskers, strict=True):
        assert min(low, high) <= mean <= max(low, high) and TOP <= mean <= HEIGHT - BOTTOM
    fitted, beyond = drawn.lines
    assert fitted.points[-1] == beyond.points[0] == drawn.means[3], "it leads on from what was measured"
    assert beyond.points[-1] == pytest.approx(drawn.means[4], abs=0.02)
    page = render_curve(found)
    assert page.count("<circle") == 5 and "16,000" in page and found.answer.capitalize() in page
    assert "<script" not in page and "default-src 'none'" in page


def test_a_page_without_a_law_draws_what_was_measured() -> None:
    found = report(Law(a=0.1, b=0.6, c=0.02), fractions=(0.5, 1.0), draws=20)
    assert found.ends == (found.scores[-1].low, found.scores[-1].high)
    assert rows_chart(found).lines == [] and render_curve(found).count("<circle") == 2


# --- drawn together ---------------------------------------------------------------------------------------------------


def model(dice: np.random.Generator, labels: list[str], right: float) -> Outcomes:
    said = [label if dice.random() < right else "c" for label in labels]
    return from_arrays(label=labels, prediction=said)


@pytest.mark.parametrize("name", ["accuracy", "f1_macro"])
def test_models_are_drawn_on_the_same_rows(name: str) -> None:
    dice = np.random.default_rng(3)
    labels = [str(one) for one in dice.choice(["a", "b", "c"], 400)]
    better, worse = model(dice, labels, 0.9), model(dice, labels, 0.7)
    values = together(name, [better, worse, better])
    assert values.shape == (3, 1000) and (values[0] == values[2]).all()
    assert values.mean(axis=1) == pytest.approx([metric(name).score(one) for one in (better, worse, better)], abs=0.01)
    rows = np.repeat(np.arange(400), 4)
    keyed = together(name, [better.take(rows), worse.take(rows)], rows.astype(np.uint64))
    assert keyed.std(axis=1) == pytest.approx(values[:2].std(axis=1), rel=0.1), "four alike rows of one key are one row"
    paired = bootstrap(name, better, worse)
    assert (values[0] - values[1]).std() == pytest.approx(paired.error, rel=0.1)
    assert (values[0] - values[1]).std() < math.hypot(values[0].std(), values[1].std())
