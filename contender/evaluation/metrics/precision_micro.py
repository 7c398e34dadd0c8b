"""Micro precision of sets of labels: of all labels that are predicted, the share that is right; 0 where none is."""

from __future__ import annotations

from contender.evaluation.metrics import _sets
from contender.evaluation.outcomes import Array, share


class PrecisionMicro(_sets.MicroMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 1])
