"""Micro F1 of sets of labels: 2 · right / (predicted + there), over the labels of all rows together.

A label is right where the row's own set has it too. 0 where no row has a label and none is predicted.
"""

from __future__ import annotations

from contender.evaluation.metrics import _sets
from contender.evaluation.outcomes import Array, share


class F1Micro(_sets.MicroMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
