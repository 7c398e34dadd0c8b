"""Entity recall: of the entities that are there, the share that is predicted with its type, first and last word; 0 where none is."""

from __future__ import annotations

from contender.evaluation.metrics import _tags
from contender.evaluation.outcomes import Array, share


class EntityRecall(_tags.EntityMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 2])
