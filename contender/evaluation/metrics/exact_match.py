"""Exact match: the share of rows whose answer is the one in the data, up to space around it.

With evaluate.answer it is what that expression finds in both that must be the same, such as the number behind '#### '.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes


class ExactMatch(base.AdditiveMetric):
    description = __doc__
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def statistics(self, outcomes: Outcomes) -> Array:
        """(rows, 2): 1 where the answer is right, and 1."""
        exact = outcomes.figures.get("exact")
        if exact is None:
            _, place = np.unique([name.strip() for name in outcomes.names], return_inverse=True)
            exact = (place[outcomes.labels] == place[outcomes.predictions]).astype(np.float64)
        return np.stack([exact, np.ones(outcomes.rows)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        return np.asarray(sums[..., 0] / sums[..., 1])

    def cells(self, outcomes: Outcomes) -> Array | None:
        return np.asarray(self.statistics(outcomes)[:, 0], np.int64)
