"""Sequences of tags, as outcomes hold them: a JSON list of text, one tag for each word. Entities in them are found by seqeval.

seqeval's default reading is conlleval.pl's: an entity begins at B- or S-, at an I- or E- behind O or behind another type, and ends
before the next beginning, at O, and behind E- or S-. So IO tags work (words of one type in a row are one entity), and so does a
malformed sequence such as O, I-PER, which begins an entity.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np

from contender.data.jsonlists import texts_of
from contender.errors import DataError
from contender.evaluation.outcomes import Array, Outcomes
from contender.text import shorten

REMEMBERED = 1 << 16  # sequences: several metrics, slices and models ask for the same ones

Entity = tuple[str, int, int]  # type, first word, last word


def tags_of(text: str) -> tuple[str, ...]:
    """The tags that an outcome's label or prediction holds; DataError where it is no JSON list of text."""
    tags = texts_of(text)
    if tags is None or not all(tags):
        raise DataError(
            f"{shorten(text, 80)!r} is no list of tags",
            'A metric of tags reads outcomes such as ["B-PER", "O"]: name another metric for this task.',
        )
    return tuple(tags)


@lru_cache(REMEMBERED)
def entities(text: str) -> frozenset[Entity]:
    """The entities of a sequence of tags in JSON."""
    from seqeval.metrics.sequence_labeling import get_entities

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a tag that is no entity's, such as a part of speech: it says so every time
        return frozenset(get_entities(list(tags_of(text))))


@lru_cache(REMEMBERED)
def agreeing(label: str, prediction: str) -> tuple[int, int]:
    """How many words got their own tag, and how many words there are; DataError where the sequences differ in length."""
    truth, answer = tags_of(label), tags_of(prediction)
    if len(truth) != len(answer):
        raise DataError(
            f"an outcome has {len(truth):,} tags as its label and {len(answer):,} as its prediction", "Predict again."
        )
    return sum(one == other for one, other in zip(truth, answer, strict=True)), len(truth)


def entity_counts(outcomes: Outcomes) -> Array:
    """(rows, 3) float64: entities that are predicted rightly, predicted, and there."""
    names = outcomes.names

    def counted(label: int, prediction: int) -> tuple[int, ...]:
        truth, answer = entities(names[label]), entities(names[prediction])
        agreeing(names[label], names[prediction])  # of one length, or the places mean nothing
        return len(truth & answer), len(answer), len(truth)

    return np.array([counted(*pair) for pair in _pairs(outcomes)], np.float64)


def type_counts(outcomes: Outcomes) -> dict[str, tuple[int, int, int]]:
    """Type of entity → how many are predicted rightly, predicted, and there; the commonest first."""
    counts: dict[str, list[int]] = {}
    for label, prediction in _pairs(outcomes):
        truth, answer = entities(outcomes.names[label]), entities(outcomes.names[prediction])
        for place, found in enumerate((truth & answer, answer, truth)):
            for kind, _, _ in found:
                counts.setdefault(kind, [0, 0, 0])[place] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1][2], item[0]))
    return {kind: (right, predicted, there) for kind, (right, predicted, there) in ordered}


def word_counts(outcomes: Outcomes) -> Array:
    """(rows, 2) float64: words with their own tag, and words."""
    names = outcomes.names
    return np.array([agreeing(names[label], names[answer]) for label, answer in _pairs(outcomes)], np.float64)


def _pairs(outcomes: Outcomes) -> list[tuple[int, int]]:
    return list(zip(outcomes.labels.tolist(), outcomes.predictions.tolist(), strict=True))
