"""Log loss: the mean of −ln p, p the probability that the model gave to the true label. Lower is better; nats.

p is kept within the float32 epsilon of 0 and 1, as scikit-learn does for float32 probabilities, so that one row that the model
thought impossible costs 15.9 and not infinity.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes

EPSILON = float(np.finfo(np.float32).eps)


class LogLoss(base.AdditiveMetric):
    description = __doc__
    inputs: ClassVar[dict[str, str]] = {"p_label": "p_label"}
    span: ClassVar[tuple[float, float]] = (0.0, -math.log(EPSILON))

    def statistics(self, outcomes: Outcomes) -> Array:
        """(rows, 2): the loss, and 1."""
        if outcomes.p_label is None:
            raise UsageError("log_loss needs p_label, the probability given to the true label", "Predict again.")
        loss = -np.log(np.clip(outcomes.p_label, EPSILON, 1 - EPSILON))
        return np.stack([loss, np.ones(outcomes.rows)]).T

    def from_sums(self, sums: Array) -> Array:
        return np.asarray(sums[..., 0] / sums[..., 1])
