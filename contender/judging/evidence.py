"""What two models' outcomes on the same rows say about the gain in a metric: exact tests where there are any, else the bootstrap.

| metric | rows are units | several rows share a split key |
| --- | --- | --- |
| accuracy | exact: McNemar, or unconditional with a margin | the larger p of the exact sign test by key and the bootstrap |
| any other | bootstrap of rows | bootstrap of keys |

The gain is above 0 where the challenger is better, also for a metric of which less is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtri

from contender.evaluation.metrics import metric as metric_named
from contender.evaluation.outcomes import Outcomes
from contender.judging import paired
from contender.judging.resampling import Bootstrap, bootstrap

Array = np.ndarray[Any, np.dtype[Any]]


class Evidence(Protocol):
    """Tests and bounds of one gain. `units`: rows, or split keys where several rows share one."""

    @property
    def estimate(self) -> float: ...

    @property
    def units(self) -> int: ...

    @property
    def resamples(self) -> int | None: ...

    def p_above(self, threshold: float, alpha: float) -> float:
        """One-sided p-value of "the gain is at most `threshold`", precise enough to be compared with alpha."""

    def p_below(self, threshold: float, alpha: float) -> float:
        """One-sided p-value of "the gain is at least `threshold`"."""

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Lower and upper bound of the gain, each end at level alpha."""

    def units_needed(self, threshold: float, alpha: float) -> int | None:
        """About how many units would decide about the threshold with 80% power, if the gain is as observed."""


@dataclass(frozen=True)
class Counts:
    """Units on which just one of the models is right, or more often right."""

    better: int
    worse: int
    units: int


@dataclass(frozen=True)
class Exact:
    """Accuracy, row by row."""

    counts: Counts
    resamples: int | None = None

    @property
    def estimate(self) -> float:
        return (self.counts.better - self.counts.worse) / self.counts.units if self.counts.units else 0.0

    @property
    def units(self) -> int:
        return self.counts.units

    def p_above(self, threshold: float, alpha: float) -> float:
        return paired.superiority(self.counts.better, self.counts.worse, self.counts.units, threshold)

    def p_below(self, threshold: float, alpha: float) -> float:
        return paired.superiority(self.counts.worse, self.counts.better, self.counts.units, -threshold)

    def bounds(self, alpha: float) -> tuple[float, float]:
        return paired.score_interval(self.counts.better, self.counts.worse, self.counts.units, alpha)

    def units_needed(self, threshold: float, alpha: float) -> int | None:
        if not self.counts.units:
            return None
        return paired.units_needed(self.counts.better, self.counts.worse, self.counts.units, threshold, alpha)


@dataclass(frozen=True)
class Sampled:
    """Any metric, by the bootstrap; accuracy by key asks the exact sign test of the keys, too.

    The sign test alone would take many small keys that are a little better for a gain that a few large ones take back; the bootstrap
    alone rests on approximations that few keys strain.
    """

    sample: Bootstrap
    signs: Counts | None = None

    @property
    def estimate(self) -> float:
        return self.sample.estimate

    @property
    def units(self) -> int:
        return self.sample.units

    @property
    def resamples(self) -> int | None:
        return self.sample.resamples

    def p_above(self, threshold: float, alpha: float) -> float:
        p = self.sample.p_above(threshold, alpha)
        return max(p, paired.mcnemar(self.signs.better, self.signs.worse)) if self.signs and not threshold else p

    def p_below(self, threshold: float, alpha: float) -> float:
        p = self.sample.p_below(threshold, alpha)
        return max(p, paired.mcnemar(self.signs.worse, self.signs.better)) if self.signs and not threshold else p

    def bounds(self, alpha: float) -> tuple[float, float]:
        return self.sample.bounds(alpha)

    def units_needed(self, threshold: float, alpha: float) -> int | None:
        distance, error = abs(self.estimate - threshold), self.sample.error
        if not distance or not error:
            return None
        wanted = float(ndtri(paired.POWER) - ndtri(alpha)) * error / distance
        return max(self.units + 1, math.ceil(self.units * wanted**2))


def evidence(metric: str, ours: Outcomes, theirs: Outcomes, keys: Array) -> Evidence:
    """What the outcomes of challenger and champion on the rows with these split keys (rows,) uint64 say about the metric."""
    metric_named(metric).check_comparable(ours, theirs)
    signs = count_signs(ours, theirs, keys) if metric == "accuracy" else None
    if signs is not None and signs.units == ours.rows:
        return Exact(signs)
    return Sampled(bootstrap(metric, ours, theirs, keys), signs)


def count_signs(ours: Outcomes, theirs: Outcomes, keys: Array) -> Counts:
    """Units on which the challenger, or the champion, is right more often."""
    differs = ours.right.astype(np.int64) - theirs.right.astype(np.int64)
    _, unit_of = np.unique(keys, return_inverse=True)
    units = int(unit_of.max()) + 1 if len(unit_of) else 0
    by_unit = np.bincount(unit_of, weights=differs, minlength=units)
    return Counts(int((by_unit > 0).sum()), int((by_unit < 0).sum()), units)
