"""Area under the ROC curve: the chance that a row of the positive class has a higher score than one of the others; ties count half.

Where all rows of one kind are missing nothing can be told apart: 0.5.
"""

from __future__ import annotations

import numpy as np

from contender.evaluation.metrics import _ranking
from contender.evaluation.outcomes import Array


class RocAuc(_ranking.RankingMetric):
    description = __doc__

    def from_counts(self, counts: _ranking.Counts) -> Array:
        negatives = counts.all - counts.positives
        tied = counts.above - counts.hits - counts.before
        above = (counts.new * (counts.before + tied / 2)).sum(axis=1)
        pairs = (counts.positives * negatives)[:, 0]
        return np.where(pairs > 0, 1.0 - _ranking.share(above, pairs), 0.5)
