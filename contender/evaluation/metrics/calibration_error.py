"""Expected calibration error (ECE) of the predicted class, 15 bins of equal width. Lower is better; 0 to 1.

The rows whose confidence lies in a bin (low, high] give |accuracy − mean confidence|; the mean over bins, each weighing the rows
that it has. After Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (ICML 2017), section 2, with their 15 bins.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes

BINS = 15


def bins_of(confidence: Array) -> Array:
    """(rows,): the bin of each row, from 0 on."""
    return np.asarray(np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1))


class CalibrationError(base.AdditiveMetric):
    description = __doc__
    citation = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599"
    inputs: ClassVar[dict[str, str]] = {
        "predictions": "prediction",
        "references": "label",
        "confidence": "confidence",
    }
    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def statistics(self, outcomes: Outcomes) -> Any:
        """csr_array (rows, BINS + 1): right less confidence at the row's bin, and 1."""
        if outcomes.confidence is None:
            raise UsageError("calibration_error needs confidence, the probability of the prediction", "Predict again.")
        apart = base.one_hot(bins_of(outcomes.confidence), BINS, outcomes.right - outcomes.confidence)
        return base.beside(apart, np.ones((outcomes.rows, 1)))

    def from_sums(self, sums: Array) -> Array:
        return np.asarray(np.abs(sums[..., :BINS]).sum(axis=-1) / sums[..., BINS])
