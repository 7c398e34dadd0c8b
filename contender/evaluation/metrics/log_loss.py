"""Log loss: the mean of −ln p, p the probability that the model gave to the true label. Lower is better; nats.

p is kept within the float32 epsilon of 0 and 1, as scikit-learn does for float32 probabilities, so that one row that the model
thought impossible costs 15.9 and not infinity.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Outcomes

EPSILON = float(np.finfo(np.float32).eps)


class LogLoss(base.OutcomeMetric):
    description = __doc__
    inputs: ClassVar[dict[str, str]] = {"p_label": "p_label"}

    def score(self, outcomes: Outcomes) -> float:
        if outcomes.p_label is None:
            raise UsageError("log_loss needs p_label, the probability given to the true label", "Predict again.")
        return float(-np.log(np.clip(outcomes.p_label, EPSILON, 1 - EPSILON)).mean())
