"""Macro F1: the harmonic mean of precision and recall of a class; the mean over classes, each weighing the same.

A class that is a label or a prediction somewhere takes part.
"""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, PerClass


class F1Macro(base.ClassMetric):
    description = __doc__

    def from_counts(self, counts: PerClass) -> Array:
        return counts.macro(counts.f1)
