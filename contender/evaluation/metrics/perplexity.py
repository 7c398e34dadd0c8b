"""Perplexity: e to the mean of −ln p over all tokens of the answers in the data, each given what stands before it. Lower is better.

A token counts the same whatever the length of its answer, the one that ends an answer included. Jelinek, Mercer, Bahl and Baker,
Perplexity—a measure of the difficulty of speech recognition tasks (1977). Models that cut the same texts into other tokens have
perplexities of other units: those are not compared.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import base
from contender.evaluation.outcomes import Array, Outcomes


class Perplexity(base.AdditiveMetric):
    description = __doc__
    citation = "Jelinek et al., Perplexity—a measure of the difficulty of speech recognition tasks, 1977"
    inputs: ClassVar[dict[str, str]] = {"nll": "nll", "tokens": "tokens"}
    span: ClassVar[tuple[float, float]] = (1.0, np.inf)

    def statistics(self, outcomes: Outcomes) -> Array:
        """(rows, 2): −ln p of the answer, and its tokens."""
        nll, tokens = (outcomes.figures.get(name) for name in self.inputs)
        if nll is None or tokens is None:
            raise UsageError("perplexity needs nll and tokens, of the answers in the data", "Predict again.")
        return np.stack([nll, tokens], axis=1)

    def from_sums(self, sums: Array) -> Array:
        return np.exp(sums[..., 0] / sums[..., 1])

    def check_comparable(self, ours: Outcomes, theirs: Outcomes) -> None:
        if not np.array_equal(self.statistics(ours)[:, 1], self.statistics(theirs)[:, 1]):
            raise UsageError(
                "the two models cut the same answers into different tokens, and their perplexities cannot be compared",
                "Compare by exact_match, win_rate or a metric of texts, or start a new pipeline under another name.",
            )
