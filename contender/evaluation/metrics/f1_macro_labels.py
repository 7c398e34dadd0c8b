"""Macro F1 over labels, of sets of them: the F1 of each label, in a row's set or not; the mean over labels, each weighing the same.

A label that is there or predicted somewhere takes part. `f1_macro` is of rows that have one label each.
"""

from __future__ import annotations

import numpy as np

from contender.evaluation.metrics import _sets
from contender.evaluation.outcomes import Array, PerClass, share


class F1MacroLabels(_sets.LabelSetMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        counts = PerClass(*np.split(sums, 3, axis=-1))
        return share(counts.f1.sum(axis=-1), counts.present.sum(axis=-1))
