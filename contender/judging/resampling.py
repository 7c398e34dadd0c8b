"""The paired bootstrap: whether any metric's gain exceeds a threshold, with rows or split keys as units.

Units are drawn with replacement, both models' outcomes of a unit together (`draws.py`). The resamples give the gain's standard
error and bias, leaving each unit out gives how uneven the units are, and the test is Student's with four corrections. A percentile
interval alone finds too much with few units, and no affordable number of resamples resolves the levels that late looks spend.

1. Bias. The resamples' mean lies above the estimate by what the estimate lies above the truth, or by √2 − 1 of it where the metric
   has a kink, as |accuracy − confidence| has at 0. A bias that favours the conclusion is divided by √2 − 1 and taken off, and being
   as uncertain as it is large, its square is added to the variance.
2. Skewness. Hall's cubic (The Bootstrap and Edgeworth Expansion, 1992, section 3.9) takes it out of the statistic; the acceleration
   a = Σd³ / (6 (Σd²)^1.5) is of the jackknife's influences d (Efron, JASA 82:171–185, 1987). Only against the conclusion, held flat
   where the cubic turns, and LEAN times as large, as few units show less skewness than there is.
3. Few units. The variance is taken about the threshold and not about the mean: T / √(1 + T²/units), which cannot pass √units
   (B. Efron, Student's t-test under symmetry conditions, JASA 64:1278–1302, 1969). The plug-in error is too small where T² ~ units.
4. Few that differ. Where 16 of 200 rows differ, 16 is the sample. Student's degrees of freedom are (Σ|x|)² / Σx² − 1 over the
   jackknife's pseudo-values x: for accuracy that is the discordant units less one, for normal differences 0.64 units.

Nothing protects from a loss so rare that no held-out row shows it. Where a metric's kink is at both models' true value (calibration
errors of two calibrated models of unlike sharpness) correction 1 falls short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

from contender.evaluation.metrics import metric as metric_named
from contender.evaluation.outcomes import Array, Outcomes, shared_codes
from contender.judging.draws import Gain, Method, gain_of, values_of

if TYPE_CHECKING:
    from contender.evaluation.metrics.base import OutcomeMetric

RESAMPLES = 10_000
MOST_RESAMPLES = 80_000
MOST_WORK = 2e10  # numbers touched by all resamples together, about two minutes on two cores; never fewer than asked for at first
DOUBT = 3.0  # Monte-Carlo standard errors within which a decision counts as open
KINK = 1 + math.sqrt(2)  # 1 / (√2 − 1): the bias of |x| at 0, over what resamples show of it
LEAN = 1.5


class Bootstrap:
    """The gain of one model over another, or the value of one alone, and how sure it is. `bootstrap` makes it.

    Decisions at an alpha below a half draw more resamples while Monte-Carlo error could change them, up to MOST_RESAMPLES or
    MOST_WORK. What is then still open is not shown.
    """

    def __init__(self, gain: Gain, span: tuple[float, float], rows: int, paired: bool, seed: int) -> None:
        self.estimate = gain.of_all
        self.rows = rows
        self.units = gain.atoms.units
        self.method: Method = gain.atoms.method
        self._gain = gain
        self._span = (span[0] - span[1], span[1] - span[0]) if paired else span
        self._shape = _shape(gain, paired)
        self._generator = np.random.default_rng(seed)
        self._values: Array = np.zeros(0)

    @property
    def resamples(self) -> int:
        """Drawn so far."""
        return len(self._values)

    @property
    def error(self) -> float:
        """Standard error of the estimate."""
        return float(np.std(self._values, ddof=1))

    def p_above(self, threshold: float, alpha: float) -> float:
        """One-sided p-value of "the gain is at most `threshold`"; at or below `alpha` only where resamples enough say so."""
        self._settle(threshold, alpha)
        return self._side(1).p_value(threshold, alpha)

    def p_below(self, threshold: float, alpha: float) -> float:
        """One-sided p-value of "the gain is at least `threshold`"."""
        self._settle(threshold, alpha)
        return self._side(-1).p_value(-threshold, alpha)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Lower and upper bound, each at level `alpha`: the thresholds that the tests, asked before, just do not reject.

        Where no threshold would be, the least and the largest that the metric allows.
        """
        _check(alpha)
        low, high = self._side(1).lower_bound(alpha), -self._side(-1).lower_bound(alpha)
        return max(low, self._span[0]), min(high, self._span[1])

    def draw(self, resamples: int) -> None:
        """So many resamples more."""
        found = [self._gain.of_weights(weights) for weights in self._gain.atoms.weights(self._generator, resamples)]
        self._values = np.concatenate([self._values, *found])

    def _settle(self, threshold: float, alpha: float) -> None:
        _check(alpha)
        most = min(MOST_RESAMPLES, MOST_WORK / self._gain.work)
        while 2 * self.resamples <= most and (
            self._side(1).open(threshold, alpha) or self._side(-1).open(-threshold, alpha)
        ):
            self.draw(self.resamples)

    def _side(self, sign: int) -> _Side:
        against = KINK * max(0.0, sign * (float(self._values.mean()) - self.estimate))
        return _Side(
            centre=sign * self.estimate - against,
            scale=math.hypot(self.error, against),
            lean=LEAN * max(0.0, -sign * self._shape.acceleration),
            units=self._gain.atoms.drawn,
            freedom=self._shape.effective - 1,
            doubt=DOUBT / math.sqrt(self.resamples),
        )


@dataclass(frozen=True)
class _Shape:
    """How uneven the units' parts in the gain are."""

    acceleration: float
    effective: float  # units that differ


@dataclass(frozen=True)
class _Side:
    """Evidence that a quantity is above a threshold."""

    centre: float
    scale: float
    lean: float
    units: int
    freedom: float
    doubt: float

    def p_value(self, threshold: float, alpha: float) -> float:
        plain, careful = self._p(self.centre - threshold), self._p(self._less(self.centre - threshold, 1))
        return careful if plain <= alpha < careful else plain

    def open(self, threshold: float, alpha: float) -> bool:
        """Monte-Carlo error could change the answer."""
        distance = self.centre - threshold
        return self._p(self._less(distance, -1)) <= alpha < self._p(self._less(distance, 1))

    def lower_bound(self, alpha: float) -> float:
        """The largest threshold that is exceeded at level `alpha`, Monte-Carlo doubt included."""
        if self.freedom <= 0:
            return -math.inf
        wanted = -float(stdtrit(self.freedom, alpha))
        if wanted**2 >= self.units:
            return -math.inf
        wanted /= math.sqrt(1 - wanted**2 / self.units)
        if self.lean > 0:
            left = 1 - 6 * self.lean * (wanted + self.lean)
            if left <= 0:
                return -math.inf
            wanted = (1 - left ** (1 / 3)) / (2 * self.lean)
        # The distance whose lessening below leaves `wanted` scales: the larger root of a quadratic equation.
        rest, square = 1 - self.doubt**2, (self.doubt * KINK) ** 2
        root = math.sqrt(wanted**2 - rest * (wanted**2 - square))
        return self.centre - self.scale * (wanted + root) / rest

    def _less(self, distance: float, times: int) -> float:
        """The distance less what Monte-Carlo error may be: 1/√resamples of the scale, and of the bias KINK as much."""
        return distance - times * self.doubt * math.hypot(distance, KINK * self.scale)

    def _p(self, distance: float) -> float:
        if not (self.freedom > 0 and math.isfinite(distance)):
            return 1.0
        ratio = distance / self.scale if self.scale > 0 else math.copysign(math.inf, distance) if distance else 0.0
        if self.lean > 0:
            turned = max(0.0, 1 - 2 * self.lean * ratio)
            ratio = (1 - turned**3) / (6 * self.lean) - self.lean
        return float(stdtr(self.freedom, -math.sqrt(self.units) * math.sin(math.atan(ratio / math.sqrt(self.units)))))


def bootstrap(
    metric: str | OutcomeMetric,
    ours: Outcomes,
    theirs: Outcomes | None = None,
    keys: Array | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Bootstrap:
    """The metric's gain of ours over theirs, oriented so that more is better; without `theirs` ours' own value, as it is.

    theirs: of the same rows in the same order; its codes may be of other names. keys: (rows,) uint64, rows of one key are drawn
    together; None: every row alone. UsageError for an unknown metric or a missing column, ValueError where sizes differ.
    """
    if (theirs is not None and theirs.rows != ours.rows) or (keys is not None and len(keys) != ours.rows):
        raise ValueError("outcomes and keys are not of the same rows")
    measured = metric_named(metric) if isinstance(metric, str) else metric
    models = (ours,) if theirs is None else shared_codes(ours, theirs)
    gain = gain_of(measured, models, keys)
    found = Bootstrap(gain, measured.span, ours.rows, theirs is not None, seed)
    found.draw(resamples)
    return found


def together(
    metric: str | OutcomeMetric,
    models: Sequence[Outcomes],
    keys: Array | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Array:
    """The metric's values (models, resamples) where the same units are drawn for all models, which are of the same rows in the same order.

    Whatever is made of these values has the sampling error of the rows, and not that of differences which the rows share. keys: as of
    `bootstrap`; UsageError as there.
    """
    measured = metric_named(metric) if isinstance(metric, str) else metric
    atoms, values = values_of(measured, shared_codes(*models), keys)
    generator = np.random.default_rng(seed)
    return np.concatenate([values(weights) for weights in atoms.weights(generator, resamples)], axis=1)


def _shape(gain: Gain, paired: bool) -> _Shape:
    """Acceleration and effective number of units, from the jackknife: Efron and Tibshirani, An Introduction…, 1993, chapter 11."""
    sizes, units = gain.atoms.sizes, gain.atoms.drawn
    influences = (units - 1) * (gain.of_all - gain.without)
    values = influences + gain.of_all if paired else influences
    squares = float((sizes * values**2).sum())
    apart = influences - (sizes * influences).sum() / units
    spread = float((sizes * apart**2).sum())
    return _Shape(
        acceleration=float((sizes * apart**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0,
        effective=float((sizes * np.abs(values)).sum()) ** 2 / squares if squares > 0 else 0.0,
    )


def _check(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise ValueError(f"an alpha of {alpha} is not between 0 and a half")
