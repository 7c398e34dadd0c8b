"""ROUGE-2: F of the pairs of words that a prediction shares with its reference, stemmed; the mean over rows. 0 to 1."""

from __future__ import annotations

from contender.evaluation.metrics import _rouge


class Rouge2(_rouge.Rouge):
    description = __doc__
