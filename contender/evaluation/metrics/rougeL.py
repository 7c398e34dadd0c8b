"""ROUGE-L: F of the longest sequence of words that a prediction shares with its reference, gaps allowed; the mean over rows. 0 to 1."""

# ruff: noqa: N999 - the measure's own name
from __future__ import annotations

from contender.evaluation.metrics import _rouge


class RougeL(_rouge.Rouge):
    description = __doc__
