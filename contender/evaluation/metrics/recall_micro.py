"""Micro recall of sets of labels: of all labels that are there, the share that is predicted; 0 where there is none."""

from __future__ import annotations

from contender.evaluation.metrics import _sets
from contender.evaluation.outcomes import Array, share


class RecallMicro(_sets.MicroMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 2])
