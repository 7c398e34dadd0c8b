"""ROUGE-1: F of the single words that a prediction shares with its reference, stemmed; the mean over rows. 0 to 1."""

from __future__ import annotations

from contender.evaluation.metrics import _rouge


class Rouge1(_rouge.Rouge):
    description = __doc__
