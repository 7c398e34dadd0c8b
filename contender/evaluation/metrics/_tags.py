"""What the metrics of sequences of tags have in common: how often something in a sentence is right."""

from __future__ import annotations

from abc import ABCMeta
from typing import ClassVar

import numpy as np

from contender.evaluation.metrics.base import AdditiveMetric
from contender.evaluation.outcomes import Array, Outcomes
from contender.evaluation.tags import entity_counts, word_counts


class TagMetric(AdditiveMetric, metaclass=ABCMeta):
    """A metric of outcomes whose labels and predictions are tags in JSON."""

    span: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def cells(self, outcomes: Outcomes) -> Array:
        # Most sentences have few entities or none, and few words that are wrong.
        return np.asarray(np.unique(self.statistics(outcomes), axis=0, return_inverse=True)[1].reshape(-1), np.int64)


class EntityMetric(TagMetric, metaclass=ABCMeta):
    """Its statistics: entities that are predicted rightly, predicted, and there."""

    citation: ClassVar[str] = (
        "Nakayama, seqeval, https://github.com/chakki-works/seqeval; Tjong Kim Sang and Buchholz, CoNLL-2000"
    )

    def statistics(self, outcomes: Outcomes) -> Array:
        return entity_counts(outcomes)


class WordMetric(TagMetric, metaclass=ABCMeta):
    """Its statistics: words with their own tag, and words."""

    def statistics(self, outcomes: Outcomes) -> Array:
        return word_counts(outcomes)
