"""Token accuracy: of the words of all sentences, the share with their own tag.

Most words belong to no entity, so that a model which finds none comes near 1.
"""

from __future__ import annotations

from contender.evaluation.metrics import _tags
from contender.evaluation.outcomes import Array, share


class TokenAccuracy(_tags.WordMetric):
    description = __doc__

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 1])
