"""Sets of labels, as outcomes hold them: a JSON list of text, each label once and in order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from contender.data.jsonlists import texts_of
from contender.errors import DataError
from contender.evaluation.outcomes import Array, Outcomes, PerClass
from contender.text import shorten

REMEMBERED = 1 << 16  # sets: several metrics, slices and models ask for the same ones


@lru_cache(REMEMBERED)
def labels_of(text: str) -> tuple[str, ...]:
    """The labels that an outcome's label or prediction holds; DataError where it is no JSON list of text."""
    labels = texts_of(text)
    if labels is None:
        raise DataError(
            f"{shorten(text, 80)!r} is no list of labels",
            'A metric over labels reads outcomes such as ["delivery", "refund"]: name another metric for this task.',
        )
    return tuple(labels)


def members(outcomes: Outcomes) -> tuple[list[str], Any]:
    """Every label of the outcomes' sets, in order, and a csr_array (names, labels) float64: 1 where a set has the label."""
    from scipy.sparse import csr_array

    sets = [labels_of(name) for name in outcomes.names]
    labels = sorted({label for one in sets for label in one})
    place = {label: code for code, label in enumerate(labels)}
    ends = np.cumsum([0, *map(len, sets)])
    codes = np.array([place[label] for one in sets for label in one], np.int64)
    return labels, csr_array((np.ones(len(codes)), codes, ends), shape=(len(sets), len(labels)))


def label_columns(outcomes: Outcomes) -> tuple[Any, Any, Any]:
    """csr_arrays (rows, labels): 1 where a label is predicted rightly, where it is predicted, and where it is there."""
    _, of_set = members(outcomes)
    predicted, there = of_set[outcomes.predictions], of_set[outcomes.labels]
    return predicted.multiply(there).tocsr(), predicted, there


def per_label(outcomes: Outcomes) -> tuple[list[str], PerClass]:
    """Every label, in order, and how often it is predicted rightly, predicted, and there: (labels,) each."""
    labels, _ = members(outcomes)
    return labels, PerClass(*(np.asarray(column.sum(axis=0)) for column in label_columns(outcomes)))


def set_codes(outcomes: Outcomes) -> Array:
    """(rows,) int64, equal for rows of the same sets."""
    codes: Array = outcomes.labels.astype(np.int64) * len(outcomes.names) + outcomes.predictions
    return codes
