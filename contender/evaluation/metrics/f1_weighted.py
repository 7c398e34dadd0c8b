"""Weighted F1: the harmonic mean of precision and recall of a class; the mean over classes, each weighing as many rows as it has."""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes


class F1Weighted(base.OutcomeMetric):
    description = __doc__

    def score(self, outcomes: Outcomes) -> float:
        counts = outcomes.per_class
        return float((counts.f1 * counts.support).sum() / outcomes.rows)
