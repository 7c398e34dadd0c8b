"""ROUGE by rouge-score, Google's reimplementation of ROUGE-1.5.5 with its stemmer: the mean of F over rows.

Lin, ROUGE: A Package for Automatic Evaluation of Summaries (2004). Of several references a row counts the best one.

rouge-score's own words are runs of a-z and 0-9: it would see nothing of a text in another alphabet, and half of one with accents.
So it is given the words of such a text: runs of letters and digits, and single characters where a script puts no spaces between words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from contender.evaluation.metrics import _texts
from contender.evaluation.outcomes import Array, Outcomes

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

KINDS = ("rouge1", "rouge2", "rougeL")
# Thai, Lao, Myanmar, Khmer, kana, Han: scripts without spaces between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
STEMMED_FROM = 4  # letters, as rouge-score has it


class Rouge(_texts.TextMetric):
    citation = "Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004, https://aclanthology.org/W04-1013"
    known: ClassVar[
        dict[bytes, _texts.Row]
    ] = {}  # one for all kinds: cutting into words and stemming is most of the time

    def counted(self, prediction: str, wanted: Sequence[str]) -> _texts.Row:
        """F of every kind."""
        found = _scorer().score_multi(list(wanted), prediction)
        return tuple(float(found[kind].fmeasure) for kind in KINDS)

    def statistics(self, outcomes: Outcomes) -> Array:
        """(rows, 2): F of this kind, and 1."""
        found = super().statistics(outcomes)[:, KINDS.index(self.key)]
        return np.stack([found, np.ones(outcomes.rows)], axis=1)

    def from_sums(self, sums: Array) -> Array:
        return _texts.share(sums[..., 0], sums[..., 1])


@cache
def _scorer() -> RougeScorer:
    from nltk.stem.porter import PorterStemmer
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

    stemmer, ascii_words = PorterStemmer(), DefaultTokenizer(use_stemmer=True)

    class Words(Tokenizer):  # type: ignore[misc]  # rouge-score is untyped
        def tokenize(self, text: str) -> list[Any]:
            if text.isascii():
                return list(ascii_words.tokenize(text))
            words = WORD.findall(text.lower())
            return [stemmer.stem(word) if word.isascii() and len(word) >= STEMMED_FROM else word for word in words]

    return RougeScorer(list(KINDS), tokenizer=Words())
