"""Macro precision: of the rows predicted as a class, the share that is; the mean over classes, each weighing the same.

A class that is a label or a prediction somewhere takes part; one that is never predicted counts as 0.
"""

from __future__ import annotations

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, PerClass


class Precision(base.ClassMetric):
    description = __doc__

    def from_counts(self, counts: PerClass) -> Array:
        return counts.macro(counts.precision)
