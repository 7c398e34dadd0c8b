"""Macro precision: of the rows predicted as a class, the share that is; the mean over classes, each weighing the same.

A class that is a label or a prediction somewhere takes part; one that is never predicted counts as 0.
"""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes


class Precision(base.OutcomeMetric):
    description = __doc__

    def score(self, outcomes: Outcomes) -> float:
        counts = outcomes.per_class
        return float(counts.precision[counts.present].mean())
