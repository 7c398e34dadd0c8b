"""Accuracy: the share of rows whose prediction is the label."""

from __future__ import annotations

import numpy as np

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, PerClass


class Accuracy(base.ClassMetric):
    description = __doc__

    def from_counts(self, counts: PerClass) -> Array:
        return np.asarray(counts.hits.sum(axis=-1) / counts.rows)
