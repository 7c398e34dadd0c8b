"""The bootstrap says what the exact tests say, errs no oftener than it may, and answers doubt with "not shown"."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import ClassVar

import numpy as np
import pytest

from contender.errors import ModelError, UsageError
from contender.evaluation.metrics import base, metric
from contender.evaluation.outcomes import Outcomes, from_arrays, shared_codes
from contender.judging import draws, paired, resampling
from contender.judging.resampling import bootstrap
from contender.names import LABEL_METRICS

ALPHA = 0.0304
NAMES = ("a", "b", "c", "d")


def models(rows, *, ours=0.85, theirs=0.85, together=0.7, shares=(0.4, 0.3, 0.2, 0.1), seed=1):
    """Two models of so many classes, right as often as given, on most rows right or wrong together."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(shares), rows, p=shares)
    luck = generator.random(rows)
    other = np.where(generator.random(rows) < together, luck, generator.random(rows))
    wrong = (labels + generator.integers(1, len(shares), rows)) % len(shares)

    def model(right, chance):
        sure = np.clip(1 - chance / 2 + generator.normal(0, 0.05, rows), 0.01, 0.99)
        return Outcomes(
            NAMES[: len(shares)], labels, np.where(right, labels, wrong), {"p_label": sure, "confidence": sure}
        )

    return model(luck < ours, luck), model(other < theirs, other)


def of_counts(better, worse, units):
    """Models of two classes that differ on so many rows."""
    labels = np.zeros(units, dtype=np.int64)
    ours, theirs = labels.copy(), labels.copy()
    theirs[:better] = 1
    ours[better : better + worse] = 1
    return Outcomes(("a", "b"), labels, ours), Outcomes(("a", "b"), labels, theirs)


class Weighted(base.OutcomeMetric):
    """Accuracy that knows nothing of sums."""

    description = __doc__

    def value(self, outcomes, weights):
        return (weights * outcomes.right).sum(axis=1) / weights.sum(axis=1)


class Corpus(base.AdditiveMetric):
    """Right rows over the square root of rows: a metric in no list, of sums."""

    description = __doc__
    span: ClassVar[tuple[float, float]] = (0.0, 100.0)
    higher_is_better = False

    def statistics(self, outcomes):
        return np.stack([~outcomes.right, np.ones(outcomes.rows)], axis=1).astype(np.float64)

    def from_sums(self, sums):
        return sums[..., 0] / np.sqrt(sums[..., 1])


@pytest.mark.parametrize("name", LABEL_METRICS)
def test_weights_count_a_row_as_often_as_they_say(name):
    ours, _ = models(300)
    drawn = np.random.default_rng(2).integers(0, 300, (3, 300))
    weights = np.stack([np.bincount(rows, minlength=300) for rows in drawn]).astype(np.float64)
    want = [metric(name).score(ours.take(rows)) for rows in drawn]
    assert metric(name).value(ours, weights) == pytest.approx(want, rel=1e-12)


def test_a_class_that_no_drawn_row_has_takes_no_part():
    ours = Outcomes(("a", "b", "rare"), np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0]))
    weights = np.array([[2.0, 0, 2, 1, 0]])
    assert metric("f1_macro").value(ours, weights) == pytest.approx([1.0])


@pytest.mark.parametrize("threshold", [0.0, -0.02, 0.01])
@pytest.mark.parametrize(("better", "worse", "units"), [(40, 18, 500), (25, 30, 1_000), (90, 55, 3_000)])
def test_on_accuracy_it_agrees_with_the_exact_tests(better, worse, units, threshold):
    found = bootstrap("accuracy", *of_counts(better, worse, units))
    assert found.estimate == pytest.approx((better - worse) / units)
    exact = paired.superiority(better, worse, units, threshold)
    # Exact tests of counts are a little strict: by half a step at least.
    eased = paired.superiority(better + 1, worse, units, threshold)
    assert 0.5 * eased - 1e-4 <= found.p_above(threshold, ALPHA) <= 1.3 * exact + 1e-3
    want = paired.score_interval(better, worse, units, ALPHA)
    assert found.bounds(ALPHA) == pytest.approx(want, abs=0.1 * (want[1] - want[0]))


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "log_loss"])
@pytest.mark.parametrize("alpha", [0.03, 1e-3, 1e-5])
def test_bounds_and_tests_agree(name, alpha):
    found = bootstrap(name, *models(400, ours=0.9, theirs=0.86))
    for threshold in np.linspace(-0.2, 0.3, 26):
        above, below = found.p_above(threshold, alpha), found.p_below(threshold, alpha)
        low, high = found.bounds(alpha)
        assert (low > threshold) == (above <= alpha)
        assert (high < threshold) == (below <= alpha)
        assert low <= found.estimate <= high


@cache
def rates(name, rows, per_key, repeats=500):
    """Share of sets without a true difference on which a gain is shown, at several alphas; 300 resamples, no doubt taken off."""
    keys = np.arange(rows) // per_key
    p_values = []
    for seed in range(repeats):
        ours, theirs = models(rows // per_key, shares=(0.6, 0.3, 0.1), seed=seed)
        by_key = np.repeat(np.arange(rows // per_key), per_key)
        found = bootstrap(name, ours.take(by_key), theirs.take(by_key), keys, seed, resamples=300)
        side = found._side(1)
        p_values.append(side._p(side.centre))
    return [float(np.mean(np.array(p_values) <= alpha)) for alpha in (0.06, 0.03)]


@pytest.mark.parametrize(
    ("name", "rows", "per_key"), [("f1_macro", 200, 1), ("log_loss", 200, 1), ("log_loss", 200, 10)]
)
def test_without_a_true_difference_a_gain_is_shown_no_oftener_than_alpha(name, rows, per_key):
    for alpha, rate in zip((0.06, 0.03), rates(name, rows, per_key), strict=True):
        assert rate <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 500)
    assert rates(name, rows, per_key)[0] > 0


@pytest.mark.parametrize("name", ["f1_macro", "f1_weighted", "precision", "recall", "log_loss"])
def test_a_large_gain_is_shown_and_its_opposite_refuted(name):
    ours, theirs = models(1_000, ours=0.92, theirs=0.84)
    if name == "log_loss":
        ours = replace(ours, figures={**ours.figures, "p_label": np.clip(ours.p_label + 0.05, 0, 0.99)})
    better, worse = bootstrap(name, ours, theirs), bootstrap(name, theirs, ours)
    assert better.p_above(0.0, 1e-3) < 1e-3 < 0.5 < better.p_below(0.0, 1e-3)
    assert worse.p_below(0.0, 1e-3) < 1e-3
    assert better.estimate == pytest.approx(-worse.estimate) and better.estimate > 0
    assert better.p_above(1.5 * better.estimate, ALPHA) > 0.5


def test_less_is_better_turns_the_gain_but_not_the_value_of_one_model():
    ours, theirs = models(300)
    values = [metric("log_loss").score(model) for model in (ours, theirs)]
    assert bootstrap("log_loss", ours, theirs).estimate == pytest.approx(values[1] - values[0])
    alone = bootstrap("log_loss", ours)
    assert alone.estimate == pytest.approx(values[0])
    assert alone.bounds(0.025)[0] < values[0] < alone.bounds(0.025)[1]


def test_the_same_seed_gives_the_same_answers_and_another_one_others():
    one, same, other = (bootstrap("f1_macro", *models(300), seed=seed) for seed in (3, 3, 4))
    assert (one.p_above(0, ALPHA), one.bounds(ALPHA)) == (same.p_above(0, ALPHA), same.bounds(ALPHA))
    assert one.error != other.error


def test_labels_are_compared_by_name():
    ours, theirs = models(400, ours=0.9)
    names = ("new", *reversed(NAMES))
    place = np.array([names.index(name) for name in NAMES])
    recoded = replace(theirs, names=names, labels=place[theirs.labels], predictions=place[theirs.predictions])
    assert bootstrap("f1_macro", ours, recoded).estimate == pytest.approx(bootstrap("f1_macro", ours, theirs).estimate)
    assert bootstrap("f1_macro", ours, recoded).error == pytest.approx(
        bootstrap("f1_macro", ours, theirs).error, rel=0.05
    )
    assert [model.names for model in shared_codes(ours, recoded)] == [[*NAMES, "new"]] * 2


def test_rows_of_a_key_are_one_unit():
    ours, theirs = models(200, ours=0.95, theirs=0.8)
    rows = np.repeat(np.arange(200), 5)
    keys = (rows * 7919 + 1).astype(np.uint64)
    single, copied = (
        bootstrap("f1_macro", ours, theirs),
        bootstrap("f1_macro", ours.take(rows), theirs.take(rows), keys),
    )
    assert (single.method, copied.method, copied.rows, copied.units) == ("cells", "units", 1_000, 200)
    assert copied.estimate == pytest.approx(single.estimate)
    assert copied.error == pytest.approx(single.error, rel=0.04)
    assert copied.p_above(0, ALPHA) == pytest.approx(single.p_above(0, ALPHA), rel=0.3)


def test_twenty_keys_show_only_what_is_plain():
    keys = np.arange(400) // 20
    plain = bootstrap("accuracy", *models(400, ours=0.95, theirs=0.75, together=0.3), keys)
    assert plain.p_above(0, ALPHA) <= ALPHA < plain.p_above(0.15, ALPHA)
    assert plain.p_above(0, 1e-5) > 1e-5


def test_rows_of_too_many_kinds_to_count_are_drawn_in_blocks(monkeypatch):
    ours, theirs = models(6_000)
    whole = bootstrap("f1_macro", ours, theirs)
    monkeypatch.setattr(draws, "MOST_UNITS", 3_000)
    monkeypatch.setattr(draws, "MOST_CELLS", 10)
    monkeypatch.setattr(draws, "BLOCKS", 2_000)
    blocks = bootstrap("f1_macro", ours, theirs)
    assert (whole.method, blocks.method, blocks.units) == ("cells", "blocks", 6_000)
    assert blocks.estimate == pytest.approx(whole.estimate, rel=1e-12)
    assert blocks.error == pytest.approx(whole.error, rel=0.1)


def test_sums_in_float32_are_the_sums_in_float64(monkeypatch):
    keys = np.arange(6_000) // 3
    fast = bootstrap("f1_macro", *models(6_000), keys, resamples=500)
    monkeypatch.setattr(draws, "DENSE", 0)  # sparse, float64
    slow = bootstrap("f1_macro", *models(6_000), keys, resamples=500)
    assert fast.error == slow.error and fast.bounds(ALPHA) == slow.bounds(ALPHA)


@pytest.mark.parametrize("name", ["log_loss", "accuracy"])
def test_blocks_give_the_answers_of_units(name, monkeypatch):
    keys = np.arange(3_000) // 2
    ours, theirs = models(3_000, ours=0.87)
    whole = bootstrap(name, ours, theirs, keys)
    monkeypatch.setattr(draws, "MOST_UNITS", 1_000)
    monkeypatch.setattr(draws, "BLOCKS", 900)
    blocks = bootstrap(name, ours, theirs, keys)
    assert (whole.method, blocks.method, blocks.units) == ("units", "blocks", 1_500)
    assert blocks.estimate == pytest.approx(whole.estimate)
    assert blocks.error == pytest.approx(whole.error, rel=0.1)


def test_a_metric_of_ones_own_needs_no_entry_in_the_list():
    ours, theirs = models(300, ours=0.9)
    found = bootstrap(Corpus(), ours, theirs)
    assert found.estimate == pytest.approx(bootstrap("accuracy", ours, theirs).estimate * np.sqrt(300))
    assert found.bounds(1e-5)[0] >= -100


@pytest.mark.parametrize("keyed", [False, True])
def test_a_metric_of_weights_alone_gives_what_sums_give(keyed):
    ours, theirs = models(300, ours=0.92)
    keys = np.arange(300) // 3 if keyed else np.arange(300)
    found, want = bootstrap(Weighted(), ours, theirs, keys), bootstrap("accuracy", ours, theirs, keys)
    assert (found.estimate, found.units) == pytest.approx((want.estimate, want.units))
    assert found.error == pytest.approx(want.error, rel=0.04)
    assert found._shape.effective == pytest.approx(want._shape.effective)


@pytest.mark.parametrize("name", LABEL_METRICS)
def test_of_identical_models_nothing_is_shown(name):
    ours, _ = models(300)
    found = bootstrap(name, ours, replace(ours))
    assert (found.estimate, found.error) == (0.0, 0.0)
    for threshold in (0.0, -0.05, 0.05):
        assert found.p_above(threshold, ALPHA) > ALPHA
        assert found.p_below(threshold, ALPHA) > ALPHA
    assert found.bounds(ALPHA) == (-metric(name).span[1], metric(name).span[1])


def test_one_unit_shows_nothing():
    ours, theirs = of_counts(8, 0, 8)
    for found in (
        bootstrap("accuracy", ours, theirs, np.zeros(8, np.uint64)),
        bootstrap("accuracy", *of_counts(1, 0, 1)),
    ):
        assert (found.units, found.p_above(0, 0.4), found.bounds(ALPHA)) == (1, 1.0, (-1.0, 1.0))


def test_units_that_all_agree_show_what_their_number_allows():
    assert bootstrap("accuracy", *of_counts(200, 0, 200)).p_above(0.0, 1e-5) < 1e-5
    assert bootstrap("accuracy", *of_counts(5, 0, 5)).p_above(0.0, 1e-5) > 0.5**5


def test_what_has_no_value_is_an_error():
    ours, theirs = models(50)
    with pytest.raises(UsageError, match="needs p_label"):
        bootstrap("log_loss", replace(ours, figures={}), theirs)
    with pytest.raises(UsageError, match="did you mean"):
        bootstrap("f1_makro", ours, theirs)
    with pytest.raises(ModelError, match="no numbers"):
        from_arrays(p_label=[0.5, float("nan")])
    with pytest.raises(ValueError, match="same rows"):
        bootstrap("accuracy", ours, theirs.take(np.arange(40)))
    with pytest.raises(ValueError, match="an alpha of"):
        bootstrap("accuracy", ours, theirs).p_above(0.0, 0.7)


def test_more_is_drawn_only_while_chance_could_change_the_answer():
    plain = bootstrap("accuracy", *of_counts(60, 20, 500))
    plain.p_above(0.0, ALPHA)
    assert plain.resamples == resampling.RESAMPLES
    edge = bootstrap("accuracy", *of_counts(40, 28, 500))
    at_stake = edge._side(1)._p(edge._side(1).centre)
    p_value = edge.p_above(0.0, at_stake)
    assert edge.resamples == resampling.MOST_RESAMPLES
    assert p_value > at_stake


def test_drawing_more_has_an_end(monkeypatch):
    monkeypatch.setattr(resampling, "MOST_WORK", 1)
    edge = bootstrap("accuracy", *of_counts(40, 28, 500))
    at_stake = edge._side(1)._p(edge._side(1).centre)
    assert edge.p_above(0.0, at_stake) > at_stake
    assert edge.resamples == resampling.RESAMPLES
