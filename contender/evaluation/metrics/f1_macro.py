"""Macro F1: the harmonic mean of precision and recall of a class; the mean over classes, each weighing the same.

A class that is a label or a prediction somewhere takes part.
"""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes


class F1Macro(base.OutcomeMetric):
    description = __doc__

    def score(self, outcomes: Outcomes) -> float:
        counts = outcomes.per_class
        return float(counts.f1[counts.present].mean())
