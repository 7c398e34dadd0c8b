"""BLEU by its sums: sacreBLEU tokenises and counts, and the formula is its own for many sums at once.

Post, A Call for Clarity in Reporting BLEU Scores (WMT 2018). Orders 1 to 4, case kept, smoothing `exp`, the closest reference's
length: the signature is `nrefs:N|case:mixed|eff:no|tok:13a|smooth:exp`, with the tokenizer's own name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from contender.evaluation.metrics import _texts
from contender.evaluation.outcomes import Array

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDERS = 4
CITATION = "Post, A Call for Clarity in Reporting BLEU Scores, WMT 2018, https://aclanthology.org/W18-6319"


class Bleu(_texts.TextMetric):
    citation = CITATION
    tokenizer: ClassVar[str]  # as sacreBLEU names it

    def counted(self, prediction: str, wanted: Sequence[str]) -> _texts.Row:
        """Length of the prediction, of the closest reference, and of each order the n-grams that match, and all."""
        found = _scorer(self.tokenizer).sentence_score(prediction, wanted)
        return (found.sys_len, found.ref_len, *found.counts, *found.totals)

    def from_sums(self, sums: Array) -> Array:
        length, wanted = sums[..., 0], sums[..., 1]
        matched, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
        without = (matched == 0) & (total > 0)
        # The k-th order without a match counts as half as good as the one before it: NIST's smoothing.
        smoothed = _texts.share(0.5 ** np.cumsum(without, axis=-1), total)
        precisions = np.where(without, smoothed, _texts.share(matched, total))
        brief = np.exp(np.minimum(0.0, 1 - wanted / np.maximum(length, 1e-300)))
        valid = (matched > 0).any(axis=-1) & (precisions > 0).all(axis=-1)
        logarithms = np.log(np.where(precisions > 0, precisions, 1.0)).mean(axis=-1)
        return np.where(valid, brief * np.exp(logarithms), 0.0)


@cache
def _scorer(tokenizer: str) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True)  # of one sentence; its counts are the same without
