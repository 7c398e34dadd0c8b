"""Entities by type: which of them a tagger finds, and which it does not."""

from __future__ import annotations

from dataclasses import dataclass

from contender.evaluation.outcomes import Outcomes, Paired
from contender.evaluation.tags import type_counts

SHOWN = 40  # types, the commonest


@dataclass(frozen=True)
class EntityType:
    """One type on the set that decides: how many entities there are, and what a model makes of them, as shares."""

    type: str
    there: int
    precision: float
    recall: float
    f1: float
    champion_f1: float | None = None


def entity_types(both: Paired) -> list[EntityType]:
    """The types, the commonest first; outcomes are sequences of tags."""
    theirs = _shares(both.theirs) if both.theirs else None
    return [
        EntityType(kind, there, precision, recall, f1, theirs.get(kind, (0, 0.0, 0.0, 0.0))[3] if theirs else None)
        for kind, (there, precision, recall, f1) in list(_shares(both.ours).items())[:SHOWN]
    ]


def _shares(outcomes: Outcomes) -> dict[str, tuple[int, float, float, float]]:
    """Type → entities that there are, precision, recall, F1."""
    return {
        kind: (there, right / max(predicted, 1), right / max(there, 1), 2 * right / max(predicted + there, 1))
        for kind, (right, predicted, there) in type_counts(outcomes).items()
    }
