"""Recall at a precision of 50%: the most of the positive class that is found where at least 50 in 100 of what is found are right."""

from __future__ import annotations

from contender.evaluation.metrics import _ranking
from contender.evaluation.outcomes import Array


class RecallAtP50(_ranking.RankingMetric):
    description = __doc__

    def from_counts(self, counts: _ranking.Counts) -> Array:
        return counts.recall_at(0.50)
