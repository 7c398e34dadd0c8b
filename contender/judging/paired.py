"""Two models on the same rows: exact tests of which is better, an interval for the gain, power.

Every unit (a held-out row, or all rows of one split key) is better, worse or the same under the challenger. `better` and `worse`
count units; `units` is all of them; the gain is (better − worse) / units. Light to import: numpy and scipy.special.

McNemar's exact test is the binomial test of better among better + worse: Q. McNemar, Psychometrika 12:153–157 (1947); with keys
as units it is the sign test. Superiority by more than a margin, and non-inferiority within one, is the exact unconditional test
that orders tables by the score statistic: Hsueh, Liu and Chen, Biometrics 57:478–483 (2001). Statistic and interval: T. Tango,
Statistics in Medicine 17:891–908 (1998).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv, gammaln, ndtri, xlog1py, xlogy

Array = np.ndarray[Any, np.dtype[Any]]

POWER = 0.8
DISCORDANT = 0.08  # share of rows on which just one of two good models is right, where nothing is known yet

# The exact test takes the largest p-value over the share of discordant units inside a (1 − GAMMA) confidence interval and adds
# GAMMA: Berger and Boos, JASA 89:1012–1016 (1994). It costs less than a ten-thousandth of any alpha that a ledger spends early.
GAMMA = 1e-7
NEGLECTED = 1e-12  # mass left out at each end of a binomial sum, added back to the p-value
GRID = 48  # shares tried, and tried again between the neighbours of the worst one


def mcnemar(better: int, worse: int) -> float:
    """One-sided exact p-value of "better is no likelier than worse": P(Binomial(better + worse, ½) ≥ better)."""
    return float(_binomial_tail(np.array(better), np.array(better + worse), np.array(0.5)))


def superiority(better: int, worse: int, units: int, margin: float) -> float:
    """One-sided exact p-value of "the gain is at most `margin`"; a negative margin makes it a test of non-inferiority.

    Margin 0 is McNemar's exact test. The result never understates: a false rejection is at most as likely as the level.
    """
    if margin == 0:
        return mcnemar(better, worse)
    if units == 0 or not -1 < margin < 1 or better - worse <= margin * units:
        return 1.0
    low, high = clopper_pearson(better + worse, units, GAMMA / 2)
    low, high = max(low, abs(margin)), min(high, 1.0)
    if low > high:
        return GAMMA
    shares = np.linspace(low, high, GRID)
    tails = _tail_given_margin(better, worse, units, margin, shares)
    worst = int(tails.argmax())
    between = np.linspace(shares[max(worst - 1, 0)], shares[min(worst + 1, GRID - 1)], GRID)
    highest = max(tails[worst], _tail_given_margin(better, worse, units, margin, between).max())
    return float(min(1.0, highest + GAMMA + 2 * NEGLECTED))


def score_interval(better: int, worse: int, units: int, alpha: float) -> tuple[float, float]:
    """Tango's score interval for the gain, each end at level `alpha`: lower and upper bound."""
    if units == 0:
        return -1.0, 1.0
    z, estimate = float(-ndtri(alpha)), (better - worse) / units
    low = _bisect(lambda gain: float(score(better, worse, units, gain)) - z, -1.0, estimate)
    high = _bisect(lambda gain: float(score(better, worse, units, gain)) + z, estimate, 1.0)
    return low, high


def score(better: Any, worse: Any, units: int, gain: float) -> Array:
    """Tango's statistic of a true gain: approximately standard normal, above 0 where more was gained; better and worse (…)."""
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    distance = better - worse - units * gain
    variance = units * (2 * _worse_share(better, worse, units, gain) + gain * (1 - gain))
    # No variance: every unit is the same under the hypothesis, so any difference at all is infinitely far.
    certain = np.where(distance > 0, np.inf, np.where(distance < 0, -np.inf, 0.0))
    return np.asarray(np.divide(distance, np.sqrt(np.maximum(variance, 0)), out=certain, where=variance > 0))


def clopper_pearson(count: int, units: int, alpha: float) -> tuple[float, float]:
    """Exact bounds of a share, each end at level `alpha`: Clopper and Pearson, Biometrika 26:404–413 (1934)."""
    low = 0.0 if count == 0 else float(betaincinv(count, units - count + 1, alpha))
    high = 1.0 if count == units else float(betaincinv(count + 1, units - count, 1 - alpha))
    return low, high


def power(units: int, gain: float, discordant: float, alpha: float) -> float:
    """Chance that McNemar's exact test at `alpha` shows a true `gain`, where `discordant` is the share of units that differ."""
    if discordant <= 0 or gain > discordant:
        return 0.0
    differing = _likely(units, discordant, discordant)
    needed = _critical(differing, alpha)
    shown = _binomial_tail(needed, differing, np.array(min(1.0, (discordant + gain) / (2 * discordant))))
    return float((_binomial(differing, units, np.array(discordant)) * shown).sum())


def gain_shown(units: int, alpha: float, wanted: float, discordant: float) -> float | None:
    """The smallest true gain that McNemar's exact test shows with power `wanted`; None where no gain is large enough.

    The share of units that differ is `discordant`, or the gain where that is larger.
    """
    if power(units, 1.0, 1.0, alpha) < wanted:
        return None
    guess = (ndtri(wanted) - ndtri(alpha)) * math.sqrt(discordant / units)

    def missing(gain: float) -> float:
        return power(units, gain, max(gain, discordant), alpha) - wanted

    low, high = guess / 2, min(1.0, 2 * guess)
    return _bisect(missing, low, high, 25) if missing(low) < 0 < missing(high) else _bisect(missing, 0.0, 1.0, 30)


def units_needed(better: int, worse: int, units: int, margin: float, alpha: float, wanted: float = POWER) -> int | None:
    """About how many units decide with power `wanted` whether the gain is above `margin` or below, if it is as observed.

    None where the gain observed is the margin itself. The score test's sample size: Nam, Biometrics 53:1422–1430 (1997).
    """
    gain, discordant = (better - worse) / units, (better + worse) / units
    if gain < margin:  # the question is then whether it is below: the same one, seen from the champion
        better, worse, gain, margin = worse, better, -gain, -margin
    if not gain > margin:
        return None
    null = 2 * float(_worse_share(np.array(better), np.array(worse), units, margin)) + margin * (1 - margin)
    spread = -ndtri(alpha) * math.sqrt(max(null, 0)) + ndtri(wanted) * math.sqrt(max(discordant - gain**2, 0))
    return max(units + 1, math.ceil(float(spread / (gain - margin)) ** 2))


def _worse_share(better: Array, worse: Array, units: int, gain: float) -> Array:
    """Maximum likelihood share of worse units, given that the share of better ones is larger by `gain`."""
    linear = -better - worse + (2 * units - better + worse) * gain
    constant = -worse * gain * (1 - gain)
    root = np.sqrt(np.maximum(linear**2 - 8 * units * constant, 0))
    return np.clip((root - linear) / (4 * units), max(0.0, -gain), (1 - gain) / 2)


def _tail_given_margin(better: int, worse: int, units: int, margin: float, discordant: Array) -> Array:
    """P(a table at least as far above `margin` as this one), for each share of discordant units (shares,)."""
    shares = np.clip((discordant - margin) / 2, 0.0, 1.0)[:, None]
    others = _likely(units, float(shares.min()), float(shares.max()))
    needed = _least_better(better, worse, units, margin, others)
    given = np.clip((shares + margin) / np.maximum(1 - shares, 1e-300), 0.0, 1.0)
    return np.asarray((_binomial(others, units, shares) * _binomial_tail(needed, units - others, given)).sum(axis=1))


def _least_better(better: int, worse: int, units: int, margin: float, others: Array) -> Array:
    """For each count of worse units (counts,), the least count of better ones that is as far above the margin as observed."""
    observed = float(score(better, worse, units, margin)) - 1e-9
    low, high = np.zeros_like(others), units - others + 1
    while (low < high).any():
        middle = (low + high) // 2
        far = score(middle, others, units, margin) >= observed
        low, high = np.where(far, low, np.minimum(middle + 1, high)), np.where(far, middle, high)
    # Where no count reaches it, one that cannot happen: it must not weigh in the minimum below.
    least = np.where(low > units - others, units + 1, low)
    # More worse units never ask for fewer better ones: the region must be convex for the border to be the worst case.
    return np.asarray(np.minimum.accumulate(least[::-1])[::-1])


def _critical(trials: Array, alpha: float) -> Array:
    """For each number of trials, the least count of successes that rejects ½ at `alpha`; trials + 1 where none does."""
    # The normal approximation is off by less than this: a half is symmetric, so that only the tails' curvature is left.
    z = -float(ndtri(alpha))
    middle, reach = np.floor(trials / 2 + z * np.sqrt(trials) / 2).astype(np.int64), math.ceil(8 + z**2)
    low, high = np.clip(middle - reach, 0, trials + 1), np.clip(middle + reach, 0, trials + 1)
    while (low < high).any():
        middle = (low + high) // 2
        rejects = _binomial_tail(middle, trials, np.array(0.5)) <= alpha
        low, high = np.where(rejects, low, np.minimum(middle + 1, high)), np.where(rejects, middle, high)
    return low


def _likely(units: int, lowest: float, highest: float) -> Array:
    """Counts that Binomial(units, share) gives for shares in a range, all but NEGLECTED at each end.

    Bernstein's inequality: P(X ≥ mean + t) ≤ exp(−t² / (2 (variance + t/3))).
    """
    reach = -math.log(NEGLECTED)

    def widest(share: float) -> float:
        return reach / 3 + math.sqrt((reach / 3) ** 2 + 2 * reach * units * share * (1 - share))

    first = max(0, math.floor(units * lowest - widest(lowest)))
    last = min(units, math.ceil(units * highest + widest(highest)))
    return np.arange(first, last + 1)


def _binomial(counts: Array, trials: int, share: Array) -> Array:
    """P(Binomial(trials, share) = counts)."""
    ways = gammaln(trials + 1) - gammaln(counts + 1) - gammaln(trials - counts + 1)
    return np.asarray(np.exp(ways + xlogy(counts, share) + xlog1py(trials - counts, -share)))


def _binomial_tail(counts: Array, trials: Array, share: Array) -> Array:
    """P(Binomial(trials, share) ≥ counts); 1 where counts is 0, 0 where it is above trials."""
    inside = (counts >= 1) & (counts <= trials)
    tail = betainc(np.where(inside, counts, 1), np.where(inside, trials - counts + 1, 1), share)
    return np.asarray(np.where(counts <= 0, 1.0, np.where(counts > trials, 0.0, tail)))


def _bisect(function: Any, low: float, high: float, steps: int = 50) -> float:
    """Where a monotone function crosses 0 between two ends, which are halved `steps` times; an end where it does not."""
    rising = function(high) >= function(low)
    for _ in range(steps):
        middle = (low + high) / 2
        if (function(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return (low + high) / 2
