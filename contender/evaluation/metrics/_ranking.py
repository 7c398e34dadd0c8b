"""What metrics of a ranking have in common: how well the score of the positive class tells its rows from all others.

The outcomes' figures `p_positive`, the probability given to the positive class, and `positive`, 1 for its rows and 0 for others.
Rows of equal scores stand or fall together. Not sums over rows, so every resample is counted: sorted once, then a running sum each.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes

KEPT = 2  # rankings: the judge asks for both models of a comparison again and again


@dataclass(frozen=True)
class Ranking:
    """Rows by falling score; of each distinct score that a positive row has, where its rows begin and end."""

    order: Array
    positive: Array  # (rows,) in that order
    begins: Array
    ends: Array  # one behind the last row

    def counts(self, weights: Array) -> Counts:
        sorted_weights = weights[:, self.order]
        rows = _running(sorted_weights)
        hits = _running(sorted_weights * self.positive)
        return Counts(
            before=rows[:, self.begins] - hits[:, self.begins],
            hits=hits[:, self.ends],
            above=rows[:, self.ends],
            positives=hits[:, -1:],
            all=rows[:, -1:],
        )


@dataclass(frozen=True)
class Counts:
    """Weights (resamples, scores) of rows: negative ones with a higher score, positive and all with as high a one; and of all rows."""

    before: Array
    hits: Array
    above: Array
    positives: Array  # (resamples, 1)
    all: Array  # (resamples, 1)

    @property
    def new(self) -> Array:
        """Positive ones of just this score."""
        return np.diff(self.hits, axis=1, prepend=0.0)

    @property
    def precision(self) -> Array:
        return share(self.hits, self.above)

    def recall_at(self, precision: float) -> Array:
        """(resamples,): the highest recall of a threshold with so high a precision; 0 where no threshold has it."""
        # Sums of weights carry rounding: 9 of 10 is 0.9 whatever the weights were added up to.
        enough = self.hits >= precision * self.above * (1 - 1e-12)
        return np.asarray((share(self.hits, self.positives) * enough).max(axis=1, initial=0.0))


class RankingMetric(base.OutcomeMetric):
    """A metric of a ranking; 0 where it has no positive row, as nothing is found then."""

    inputs: ClassVar[dict[str, str]] = {"positive": "positive", "p_positive": "p_positive"}
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rankings: list[tuple[Outcomes, Ranking]] = []

    @abstractmethod
    def from_counts(self, counts: Counts) -> Array:
        """The metric (resamples,)."""

    def value(self, outcomes: Outcomes, weights: Array) -> Array:
        return self.from_counts(self._ranking(outcomes).counts(np.asarray(weights, np.float64)))

    def cells(self, outcomes: Outcomes) -> Array | None:
        """What counts of a row is where its score stands among those of the positive ones, which are often few."""
        scores, positive = (self._figures(outcomes)[name] for name in ("p_positive", "positive"))
        among = np.unique(scores[positive > 0])
        place = np.searchsorted(among, scores, "left") + np.searchsorted(among, scores, "right")
        return np.asarray(2 * place + (positive > 0), np.int64)

    def _ranking(self, outcomes: Outcomes) -> Ranking:
        for known, ranking in self._rankings:
            if known is outcomes:
                return ranking
        figures = self._figures(outcomes)
        found = _ranked(figures["p_positive"], figures["positive"])
        self._rankings = [*self._rankings[1 - KEPT :], (outcomes, found)]
        return found

    def _figures(self, outcomes: Outcomes) -> Mapping[str, Array]:
        missing = [name for name in self.inputs if name not in outcomes.figures]
        if missing:
            raise UsageError(
                f"{self.key} needs {' and '.join(missing)} of each answer: a positive class and its probability",
                "Measure it on a task whose kind has a positive class.",
            )
        return outcomes.figures


def share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    whole = np.broadcast_to(whole, shape)
    return np.asarray(np.divide(part, whole, out=np.zeros(shape), where=whole > 0))


def _ranked(scores: Array, positive: Array) -> Ranking:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    begins = np.flatnonzero(np.diff(ranked, prepend=np.inf))
    ends = np.append(begins[1:], len(ranked))
    found = np.add.reduceat(positive[order], begins) > 0
    return Ranking(order, positive[order], begins[found], ends[found])


def _running(weights: Array) -> Array:
    """(resamples, rows + 1): the sum of the first n."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
