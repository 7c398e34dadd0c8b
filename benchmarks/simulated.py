"""Simulated models whose true difference is known: what benchmarks/judge_simulation.py draws its held-out sets from.

Every model answers every row by two uniform numbers. With probability √alike it takes the row's own, which all models share, else a
draw of its own: outcomes of any two models then correlate by `alike`, however many models a life has. Rows of one key share
their draws with probability `within`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from contender.evaluation.metrics.base import AdditiveMetric
from contender.evaluation.outcomes import Outcomes

Array = np.ndarray[Any, np.dtype[Any]]

ACCURACY = 0.85  # of a champion
SHARES = np.array([0.42, 0.25, 0.15, 0.09, 0.06, 0.03])  # of classes
WORDS = (5, 30)  # of a sentence
NAMES = [f"class {code}" for code in range(len(SHARES))]


class WordErrorRate(AdditiveMetric):
    """Wrong words over all words: a corpus metric, whose rows weigh as much as they are long. Errors in p_label, words in confidence."""

    description = __doc__
    span: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is_better = False

    def statistics(self, outcomes: Outcomes) -> Array:
        return np.stack([outcomes.p_label, outcomes.confidence], axis=1)

    def from_sums(self, sums: Array) -> Array:
        return np.asarray(sums[..., 0] / sums[..., 1])


@dataclass(frozen=True)
class Shape:
    """A held-out set: rows, how alike two models answer, and how many rows share a split key.

    copies: a row is repeated up to so often under its key. within: how surely rows of one key have their answers in common.
    """

    rows: int
    alike: float
    per_key: int = 1
    copies: int = 0
    within: float = 0.7

    def key_of(self, chance: np.random.Generator) -> Array:
        """(rows,): each row's split key."""
        if self.copies:
            sizes = chance.integers(1, self.copies + 1, self.rows)  # more keys than are needed
            return np.repeat(np.arange(self.rows), sizes)[: self.rows].astype(np.uint64)
        return (np.arange(self.rows) // self.per_key).astype(np.uint64)


@dataclass(frozen=True)
class Answers:
    """What a number of models said on the same rows."""

    metric: str
    keys: Array
    labels: Array  # (rows,) class, or words
    luck: Array  # (1 or 2, models, rows) uniform
    clustered: bool

    def right(self, model: int, gain: float | Array) -> Array:
        """(rows,) bool, of accuracy."""
        return np.asarray(self.luck[0, model] < ACCURACY + gain)

    def traded(self) -> Array:
        """(rows,) a gain of 5 points on keys of up to 40 copies, which those of 41 to 50, fewer but larger, take back."""
        _, of_row, sizes = np.unique(self.keys, return_inverse=True, return_counts=True)
        small, large = sum(range(1, 41)), sum(range(41, 51))
        return np.where(sizes[of_row] <= 40, 0.05, -0.05 * small / large)

    def of(self, model: int, gain: float = 0.0, kind: str = "plain") -> Outcomes:
        """One model, better than a plain one by a true `gain` in the metric."""
        if self.metric == "accuracy":
            wrong = (~self.right(model, gain + self.traded() if kind == "traded" else gain)).astype(np.int64)
            return Outcomes(("right", "wrong"), np.zeros_like(wrong), wrong)
        first, second = self.luck[:, model]
        if self.metric == "f1_macro":
            right = first < recalls(gain, kind)[self.labels]
            others = (self.labels + 1 + (second * (len(SHARES) - 1)).astype(np.int64)) % len(SHARES)
            return Outcomes(NAMES, self.labels, np.where(right, self.labels, others))
        # A share u^p of the words is wrong, rounded up or down by chance so that the mean is exact: 1 / (p + 1) times the scale.
        power = 16 if kind == "bursts" else 4
        errors = np.floor(self.labels * (0.1 - gain) * (power + 1) * first**power + second)
        nothing = np.zeros(len(errors), dtype=np.int64)
        return Outcomes(("",), nothing, nothing, {"p_label": errors, "confidence": self.labels.astype(np.float64)})


def answers(metric: str, shape: Shape, models: int, chance: np.random.Generator) -> Answers:
    """So many models' answers on one held-out set."""
    keys = shape.key_of(chance)
    clustered = shape.per_key > 1 or shape.copies > 0
    together = chance.random(shape.rows) < (1.0 if shape.copies else shape.within) if clustered else None
    groups, of_row = np.unique(keys, return_inverse=True)

    def drawn(*lead: int) -> Array:
        own = chance.random((*lead, shape.rows), dtype=np.float32)
        if together is None:
            return own
        return np.where(together, chance.random((*lead, len(groups)), dtype=np.float32)[..., of_row], own)

    copied = drawn(models) < math.sqrt(shape.alike)
    channels = 1 if metric == "accuracy" else 2
    luck = np.stack([np.where(copied, drawn(), drawn(models)) for _ in range(channels)])
    if metric == "accuracy":
        labels = np.zeros(shape.rows, dtype=np.int64)
    elif metric == "f1_macro":
        labels = np.searchsorted(SHARES.cumsum(), drawn()).clip(0, len(SHARES) - 1)
    else:
        labels = WORDS[0] + (drawn() * (WORDS[1] - WORDS[0])).astype(np.int64)
    return Answers(metric, keys, labels, luck, clustered)


_recalls: dict[tuple[float, str], Array] = {}


def recalls(gain: float, kind: str = "plain") -> Array:
    """(classes,) recalls whose true macro F1 is above a champion's by `gain`: higher in every class, or traded for another pattern.

    traded: the rarer half of the classes is known better, and the commoner half worse by as much as makes up for it.
    """
    if (gain, kind) not in _recalls:
        plain = np.full(len(SHARES), ACCURACY)
        start = plain + 0.08 * (np.arange(len(SHARES)) >= 3) if kind == "traded" else plain
        moved = np.arange(len(SHARES)) < 3 if kind == "traded" else np.ones(len(SHARES), dtype=bool)
        low, high, wanted = -0.4, 0.14, true_f1(plain) + gain
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if true_f1(start + middle * moved) < wanted else (low, middle)
        _recalls[gain, kind] = start + low * moved
    return _recalls[gain, kind]


def true_f1(recall: Sequence[float] | Array) -> float:
    """Macro F1 of a model with these recalls, whose wrong answers fall on the other classes alike, on endlessly many rows."""
    right, wrong = SHARES * recall, SHARES * (1 - np.asarray(recall)) / (len(SHARES) - 1)
    predicted = right + wrong.sum() - wrong
    return float((2 * right / (SHARES + predicted)).mean())
