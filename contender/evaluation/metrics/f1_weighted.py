"""Weighted F1: the harmonic mean of precision and recall of a class; the mean over classes, each weighing as many rows as it has."""

from __future__ import annotations

import numpy as np

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, PerClass


class F1Weighted(base.ClassMetric):
    description = __doc__

    def from_counts(self, counts: PerClass) -> Array:
        return np.asarray((counts.f1 * counts.support).sum(axis=-1) / counts.rows)
