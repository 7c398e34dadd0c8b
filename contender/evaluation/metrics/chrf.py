"""chrF of the whole set, sacreBLEU's chrF2: F of runs of one to six characters, recall counting twice as much. 0 to 1.

It needs no tokenizer and so fits every language. Of several references a row counts the one that it is closest to.
Popović, chrF: character n-gram F-score for automatic MT evaluation (WMT 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from contender.evaluation.metrics import _texts
from contender.evaluation.outcomes import Array

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

BETA_SQUARED = 4.0


class ChrF(_texts.TextMetric):
    description = __doc__
    citation = "Popović, chrF, WMT 2015, https://aclanthology.org/W15-3049"
    known: ClassVar[dict[bytes, _texts.Row]] = {}

    def counted(self, prediction: str, wanted: Sequence[str]) -> _texts.Row:
        """Of each order: n-grams of the prediction, of the reference, and those that match."""
        # No public call gives the counts; sacreBLEU's own significance tests take them from here.
        (found,) = _scorer()._extract_corpus_statistics([prediction], [[text] for text in wanted])
        return tuple(found)

    def from_sums(self, sums: Array) -> Array:
        predicted, wanted, matched = (sums[..., part::3] for part in range(3))
        counts = (predicted > 0) & (wanted > 0)  # orders longer than all texts take no part
        orders = np.maximum(counts.sum(axis=-1), 1)
        precision = np.where(counts, _texts.share(matched, predicted), 0.0).sum(axis=-1) / orders
        recall = np.where(counts, _texts.share(matched, wanted), 0.0).sum(axis=-1) / orders
        return _texts.share((1 + BETA_SQUARED) * precision * recall, BETA_SQUARED * precision + recall)


@cache
def _scorer() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
