"""The exact tests are exact: error rates over every table, power as promised, agreement with independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from contender.judging import paired
from contender.judging.judge import smallest_gain
from contender.judging.spending import alpha_of

FIRST = alpha_of(1, 0.95)


def tables(units):
    """Every (better, worse) of so many units."""
    return [(better, worse) for better in range(units + 1) for worse in range(units + 1 - better)]


def rejection_rate(units, rejected, better_share, worse_share):
    counts = np.array([[b, w, units - b - w] for b, w in rejected])
    shares = [better_share, worse_share, max(0.0, 1 - better_share - worse_share)]
    return float(multinomial.pmf(counts, units, shares).sum()) if len(counts) else 0.0


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test(better, worse):
    want = binomtest(better, better + worse, 0.5, alternative="greater").pvalue if better + worse else 1.0
    assert paired.mcnemar(better, worse) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.1, -0.03, -0.1])
def test_no_true_difference_at_the_margin_is_taken_for_one_more_often_than_alpha(margin):
    units = 30
    found = {table: paired.superiority(*table, units, margin) for table in tables(units)}
    for alpha in (0.05, 0.0304, 0.005):
        rejected = [table for table, p_value in found.items() if p_value <= alpha]
        assert rejected or (margin, alpha) == (-0.03, 0.005)
        for worse_share in np.linspace(max(0.0, -margin), (1 - margin) / 2, 40):
            assert rejection_rate(units, rejected, worse_share + margin, worse_share) <= alpha


def test_the_test_with_a_margin_wastes_little_of_its_alpha():
    units, margin, alpha = 200, 0.02, 0.05
    near = [(b, w) for b, w in tables(units) if b + w < 50 and b < 33 and w < 25]
    rejected = [table for table in near if paired.superiority(*table, units, margin) <= alpha]
    assert rejection_rate(units, rejected, 0.07, 0.05) > 0.6 * alpha


@pytest.mark.parametrize("margin", [0.05, -0.05])
def test_more_better_units_never_weaken_the_evidence_and_more_worse_ones_never_strengthen_it(margin):
    units = 30
    found = {table: paired.superiority(*table, units, margin) for table in tables(units)}
    for (better, worse), p_value in found.items():
        assert found.get((better + 1, worse), 0.0) <= p_value + 1e-9
        assert found.get((better, worse + 1), 1.0) >= p_value - 1e-9


@pytest.mark.parametrize(("better", "worse", "units", "margin"), [(9, 1, 30, 0.05), (3, 4, 30, -0.2), (6, 0, 25, 0.02)])
def test_the_largest_p_value_over_the_likely_shares_is_found(better, worse, units, margin):
    observed = float(paired.score(better, worse, units, margin))
    farther = [table for table in tables(units) if float(paired.score(*table, units, margin)) >= observed - 1e-9]
    low, high = paired.clopper_pearson(better + worse, units, paired.GAMMA / 2)
    shares = np.linspace(max(low, abs(margin)), high, 500)
    worst = max(rejection_rate(units, farther, (share + margin) / 2, (share - margin) / 2) for share in shares)
    assert paired.superiority(better, worse, units, margin) == pytest.approx(worst, rel=1e-3, abs=1e-6)


def test_a_margin_of_nothing_lost_in_a_hundred_is_the_binomial_chance():
    """No unit differs: the p-value of "at least 3% are lost" is 0.97 to the hundredth."""
    assert paired.superiority(0, 0, 100, -0.03) == pytest.approx(0.97**100, rel=1e-5)


@settings(deadline=None)
@given(st.integers(1, 5_000), st.data())
def test_the_interval_holds_the_estimate_and_ends_where_the_score_reaches_the_level(units, data):
    better = data.draw(st.integers(0, units))
    worse = data.draw(st.integers(0, units - better))
    low, high = paired.score_interval(better, worse, units, 0.025)
    estimate = (better - worse) / units
    assert -1 <= low <= estimate + 1e-12
    assert estimate - 1e-12 <= high <= 1
    if low > -0.999:
        assert float(paired.score(better, worse, units, low)) == pytest.approx(1.959964, abs=1e-3)
    mirrored = paired.score_interval(worse, better, units, 0.025)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    units, better_share, worse_share = 120, 0.12, 0.06
    near = [(b, w) for b, w in tables(units) if 5 < b < 28 and w < 18]
    inside = []
    for table in near:
        low, high = paired.score_interval(*table, units, 0.025)
        if low <= better_share - worse_share <= high:
            inside.append(table)
    assert 0.94 < rejection_rate(units, inside, better_share, worse_share) < 0.965


@given(st.integers(0, 60), st.integers(1, 60))
def test_exact_bounds_of_a_share_equal_scipy(count, units):
    count = min(count, units)
    interval = binomtest(count, units).proportion_ci(0.95, "exact")
    assert paired.clopper_pearson(count, units, 0.025) == pytest.approx((interval.low, interval.high), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.2, 0.0304, 1e-4, 1e-9])
def test_the_critical_count_is_the_least_that_rejects(alpha):
    trials = np.array([0, 1, 4, 5, 12, 100, 1_001, 250_000])
    least = paired._critical(trials, alpha)
    for count, of in zip(least, trials, strict=True):
        assert count == of + 1 or binom.sf(count - 1, of, 0.5) <= alpha
        assert count == 0 or binom.sf(count - 2, of, 0.5) > alpha


def test_power_equals_the_sum_over_every_table():
    units, gain, discordant, alpha = 60, 0.15, 0.25, 0.05
    rejected = [table for table in tables(units) if binom.sf(table[0] - 1, sum(table), 0.5) <= alpha]
    want = rejection_rate(units, rejected, (discordant + gain) / 2, (discordant - gain) / 2)
    assert paired.power(units, gain, discordant, alpha) == pytest.approx(want, rel=1e-9)


def simulated(units, better_share, worse_share, repeats, seed):
    """(better, worse) of many held-out sets, with how often each came up."""
    shares = [better_share, worse_share, 1 - better_share - worse_share]
    drawn = np.random.default_rng(seed).multinomial(units, shares, repeats)[:, :2]
    return zip(*np.unique(drawn, axis=0, return_counts=True), strict=True)


@pytest.mark.parametrize(("gain", "margin"), [(0.0, 0.0), (0.02, 0.02), (-0.01, -0.01)])
def test_by_simulation_no_true_difference_is_promoted_less_often_than_alpha(gain, margin):
    units, alpha, repeats, worse_share = 400, 0.05, 20_000, 0.04
    found = simulated(units, worse_share + gain, worse_share, repeats, seed=11)
    promoted = sum(count for (b, w), count in found if paired.superiority(int(b), int(w), units, margin) <= alpha)
    noise = 3 * math.sqrt(alpha * (1 - alpha) / repeats)
    assert 0.3 * alpha < promoted / repeats < alpha + noise


@pytest.mark.parametrize("rows", [400, 1_500, 6_000])
def test_by_simulation_the_smallest_gain_is_shown_with_the_power_that_it_names(rows):
    repeats, discordant = 20_000, 0.08
    gain = smallest_gain(rows, FIRST, power=0.8, discordant=discordant)
    found = simulated(rows, (discordant + gain) / 2, (discordant - gain) / 2, repeats, seed=12)
    shown = sum(count for (b, w), count in found if paired.mcnemar(int(b), int(w)) <= FIRST)
    assert shown / repeats == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / repeats))


def test_the_smallest_gain_falls_with_rows_and_is_none_for_too_few():
    gains = [smallest_gain(rows, FIRST) for rows in (40, 100, 1_000, 10_000, 1_000_000)]
    assert gains == sorted(gains, reverse=True)
    assert smallest_gain(5, FIRST) is None
    assert smallest_gain(0, FIRST) is None
    assert smallest_gain(1_000, FIRST, min_gain=0.01) == pytest.approx(smallest_gain(1_000, FIRST) + 0.01)


def test_a_million_rows_take_seconds_at_most():
    assert paired.superiority(60_000, 49_000, 1_000_000, 0.01) < 0.01
    assert smallest_gain(1_000_000, FIRST) < 0.001


@pytest.mark.parametrize(("better", "worse", "units"), [(12, 8, 200), (40, 30, 1_000), (8, 12, 200)])
def test_the_rows_needed_give_about_the_power_that_they_promise(better, worse, units):
    needed = paired.units_needed(better, worse, units, 0.0, 0.0304)
    gain, discordant = abs(better - worse) / units, (better + worse) / units
    assert paired.power(needed, gain, discordant, 0.0304) == pytest.approx(0.8, abs=0.03)


def test_rows_needed_are_unknown_where_the_gain_is_the_margin_itself():
    assert paired.units_needed(5, 5, 100, 0.0, 0.05) is None
    assert paired.units_needed(0, 0, 100, 0.0, 0.05) is None
    assert paired.units_needed(0, 0, 100, -0.01, 0.05) > 100
