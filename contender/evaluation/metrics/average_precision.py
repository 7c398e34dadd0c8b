"""Average precision: the mean, over the rows of the positive class, of the precision among all rows with at least as high a score.

The area under the precision-recall curve without interpolation, as scikit-learn's average_precision_score. The figure for a rare class:
a ranking by chance has the class's share of the rows.
"""

from __future__ import annotations

import numpy as np

from contender.evaluation.metrics import _ranking
from contender.evaluation.outcomes import Array


class AveragePrecision(_ranking.RankingMetric):
    description = __doc__

    def from_counts(self, counts: _ranking.Counts) -> Array:
        return np.asarray((_ranking.share(counts.new, counts.positives) * counts.precision).sum(axis=1))
