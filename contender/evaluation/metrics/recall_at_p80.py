"""Recall at a precision of 80%: the most of the positive class that is found where at least 80 in 100 of what is found are right."""

from __future__ import annotations

from contender.evaluation.metrics import _ranking
from contender.evaluation.outcomes import Array


class RecallAtP80(_ranking.RankingMetric):
    description = __doc__

    def from_counts(self, counts: _ranking.Counts) -> Array:
        return counts.recall_at(0.80)
