"""Entity F1: 2 · right / (predicted + there), over the entities of all sentences: conlleval's FB1 as a share, by seqeval.

An entity is right where its type, its first and its last word are. 0 where there is none and none is predicted.
"""

from __future__ import annotations

from contender.evaluation.metrics import _tags
from contender.evaluation.outcomes import Array, share


class EntityF1(_tags.EntityMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
