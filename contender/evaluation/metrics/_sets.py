"""What the metrics of sets of labels have in common: how often a label is in a row's set, is predicted, and is predicted rightly."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any, ClassVar

import numpy as np

from contender.evaluation.labelsets import label_columns, set_codes
from contender.evaluation.metrics.base import AdditiveMetric, beside
from contender.evaluation.outcomes import Array, Outcomes


class LabelSetMetric(AdditiveMetric, metaclass=ABCMeta):
    """A metric of outcomes whose labels and predictions are sets of labels in JSON. Its statistics are of each label by itself."""

    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def statistics(self, outcomes: Outcomes) -> Any:
        return beside(*label_columns(outcomes))

    def cells(self, outcomes: Outcomes) -> Array | None:
        return set_codes(outcomes)


class MicroMetric(LabelSetMetric, metaclass=ABCMeta):
    """Its statistics: labels of a row that are predicted rightly, predicted, and there."""

    def statistics(self, outcomes: Outcomes) -> Array:
        return np.stack([np.asarray(column.sum(axis=1)) for column in label_columns(outcomes)], axis=-1)
