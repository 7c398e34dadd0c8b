"""What the metrics of scope have in common: how often rows that no other label fits are told from those that one fits."""

from __future__ import annotations

from abc import ABCMeta
from typing import ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics.base import AdditiveMetric
from contender.evaluation.outcomes import Array, Outcomes, share
from contender.evaluation.scope import IS, SAID


class ScopeMetric(AdditiveMetric, metaclass=ABCMeta):
    """A share of the rows that a figure is 1 for, or 0. Its statistics: such rows that are right, and such rows.

    0 where there is no such row.
    """

    span: ClassVar[tuple[float, float]] = (0.0, 1.0)
    inputs: ClassVar[dict[str, str]] = {
        "predictions": "prediction",
        "references": "label",
        "out_of_scope": IS,
        "said_out_of_scope": SAID,
    }
    of: ClassVar[str]  # the figure
    where: ClassVar[float]

    def statistics(self, outcomes: Outcomes) -> Array:
        if self.of not in outcomes.figures:
            raise UsageError(
                f"{self.key} needs {self.of} of each answer: nobody said which label means out of scope",
                "Name it under evaluate.out_of_scope, and evaluate again.",
            )
        chosen = outcomes.figures[self.of] == self.where
        return np.stack([chosen & outcomes.right, chosen], axis=-1).astype(np.float64)

    def cells(self, outcomes: Outcomes) -> Array:
        return outcomes.labels.astype(np.int64) * len(outcomes.names) + outcomes.predictions

    def from_sums(self, sums: Array) -> Array:
        return share(sums[..., 0], sums[..., 1])
