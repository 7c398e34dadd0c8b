"""What answers are made of, by type: which entities a tagger finds, which labels a model of several gives, and which it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contender.evaluation.labelsets import per_label
from contender.evaluation.outcomes import Outcomes, Paired
from contender.evaluation.tags import type_counts

SHOWN = 40  # types, the commonest

Counts = Mapping[str, tuple[int, int, int]]  # type → predicted rightly, predicted, there; the commonest first


@dataclass(frozen=True)
class EntityType:
    """One type on the set that decides: how many there are, and what a model makes of them, as shares."""

    type: str
    there: int
    precision: float
    recall: float
    f1: float
    champion_f1: float | None = None


def entity_types(both: Paired) -> list[EntityType]:
    """The types, the commonest first; outcomes are sequences of tags."""
    return _types(type_counts(both.ours), type_counts(both.theirs) if both.theirs else None)


def label_types(both: Paired) -> list[EntityType]:
    """The labels, the commonest first; outcomes are sets of labels."""
    return _types(label_counts(both.ours), label_counts(both.theirs) if both.theirs else None)


def label_counts(outcomes: Outcomes) -> dict[str, tuple[int, int, int]]:
    """Label → rows that it is predicted for rightly, rows that it is predicted for, and rows that have it; the commonest first."""
    labels, counts = per_label(outcomes)
    return {
        labels[place]: (int(counts.hits[place]), int(counts.predicted[place]), int(counts.support[place]))
        for place in np.argsort(-counts.support, kind="stable")
    }


def _types(ours: Counts, theirs: Counts | None) -> list[EntityType]:
    other = {kind: f1 for kind, (_, _, _, f1) in _shares(theirs).items()} if theirs is not None else None
    return [
        EntityType(kind, there, precision, recall, f1, None if other is None else other.get(kind, 0.0))
        for kind, (there, precision, recall, f1) in list(_shares(ours).items())[:SHOWN]
    ]


def _shares(counts: Counts) -> dict[str, tuple[int, float, float, float]]:
    """Type → how many there are, precision, recall, F1."""
    return {
        kind: (there, right / max(predicted, 1), right / max(there, 1), 2 * right / max(predicted + there, 1))
        for kind, (right, predicted, there) in counts.items()
    }
