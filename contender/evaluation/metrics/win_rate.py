"""Win rate: the share of rows on which the function that evaluate.judge names prefers the model's answer to the one in the data.

A tie counts half, and a function that returns a number how much it says: ½ is as good as the data.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes


class WinRate(base.AdditiveMetric):
    description = __doc__
    inputs: ClassVar[dict[str, str]] = {"win": "win"}
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def statistics(self, outcomes: Outcomes) -> Array:
        """(rows, 2): what the judge said, and 1."""
        win = outcomes.figures.get("win")
        if win is None:
            raise UsageError("win_rate needs win, what a judge said of each answer", "Name it as evaluate.judge.")
        return np.stack([win, np.ones(outcomes.rows)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        return np.asarray(sums[..., 0] / sums[..., 1])
