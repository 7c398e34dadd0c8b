"""Accuracy: the share of rows whose prediction is the label."""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes


class Accuracy(base.OutcomeMetric):
    description = __doc__

    def score(self, outcomes: Outcomes) -> float:
        return float(outcomes.per_class.hits.sum() / outcomes.rows)
