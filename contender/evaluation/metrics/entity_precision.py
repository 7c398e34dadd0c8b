"""Entity precision: of the entities that are predicted, the share whose type, first and last word are right; 0 where none is."""

from __future__ import annotations

from contender.evaluation.metrics import _tags
from contender.evaluation.outcomes import Array, share


class EntityPrecision(_tags.EntityMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 1])
