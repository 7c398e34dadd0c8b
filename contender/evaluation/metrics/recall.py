"""Macro recall: of the rows of a class, the share that is predicted so; the mean over classes, each weighing the same.

A class that is a label or a prediction somewhere takes part; one that no row is labelled with counts as 0.
"""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes


class Recall(base.OutcomeMetric):
    description = __doc__

    def score(self, outcomes: Outcomes) -> float:
        counts = outcomes.per_class
        return float(counts.recall[counts.present].mean())
