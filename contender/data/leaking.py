"""Columns of a table that give the label away: they hold what is only known once the label is.

A column is a leak where it alone answers nearly as well as can be: by the commonest label of each of its values, or where these are
many numbers by a small tree of thresholds, learned from every second row and tried on the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contender.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED = 100_000  # rows that are looked at
MANY, LEAVES = 256, 16  # distinct numbers from which thresholds are looked for, and how many parts these may make
MOST = 1e38  # trees compare in float32; NaN goes its own way in them
FEWEST = 30  # rows that are not of the commonest label, without which chance can look like a leak
GIVEN_AWAY = 0.995  # of what the commonest label leaves wrong


def refuse_leaks(rows: Path, columns: Iterable[str]) -> None:
    """DataError naming the columns, of those given, that give away the label of the training rows in the row file `rows`."""
    shown = shares(look_at(rows, columns, "label").leaks)
    if shown:
        raise DataError(
            f"columns give the label away, each by itself: {shown} of what the commonest label gets wrong",
            "What is only known once the label is must not be read: name it under data.features.drop. Where it is known before, "
            "list the columns that are read under data.features.columns.",
        )


@dataclass(frozen=True)
class Looked:
    """Of the columns of a table: which hold one value alone, and which give the label away, with the share that they explain."""

    constant: tuple[str, ...]
    leaks: dict[str, float]


def look_at(rows: Path, columns: Iterable[str], label: str) -> Looked:
    """What a sample of a row file says of some of its columns; `label` is the column of the label. Rows without one are left out."""
    from contender.data.values import as_text
    from contender.evaluation.evaluate import read_columns

    names = sorted(columns)
    table = read_columns(rows, [*names, label])
    places = np.unique(np.linspace(0, table.num_rows - 1, num=min(table.num_rows, SAMPLED)).astype(np.int64))
    table = table.take(places)
    table = table.filter(table.column(label).is_valid())
    labels = _codes(as_text(table.column(label)))
    cells = {name: as_text(table.column(name)) for name in names}
    explaining = {name: explained(column, labels) for name, column in cells.items()}
    return Looked(
        constant=tuple(name for name, column in cells.items() if len(column.unique()) < 2),
        leaks={name: share for name, share in explaining.items() if share >= GIVEN_AWAY},
    )


def shares(leaks: Mapping[str, float]) -> str:
    """Columns that give the label away, in words."""
    return ", ".join(f"{name} ({share:.1%})" for name, share in leaks.items())


def explained(column: pa.ChunkedArray, labels: np.ndarray) -> float:
    """How much of what the commonest label gets wrong the column alone gets right; 0 where there are too few such rows to say."""
    known, tried = slice(0, None, 2), slice(1, None, 2)
    common = np.bincount(labels[known]).argmax() if len(labels) else 0
    wrong = labels[tried] != common
    if wrong.sum() < FEWEST:
        return 0.0
    answers = _by_threshold(column, labels, known)
    if answers is None:
        answers = _by_value(_codes(column), labels, known, int(common))
    missed = (answers[tried] != labels[tried]).sum()
    return float(1 - missed / wrong.sum())


def _by_value(values: np.ndarray, labels: np.ndarray, known: slice, common: int) -> np.ndarray:
    """The commonest label of each row's value among the known rows."""
    counts = np.zeros((values.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (values[known], labels[known]), 1)
    found: np.ndarray = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), common)[values]
    return found


def _by_threshold(column: pa.ChunkedArray, labels: np.ndarray, known: slice) -> np.ndarray | None:
    """What a tree makes of a column of many numbers; None where it holds others, or few."""
    from sklearn.tree import DecisionTreeClassifier

    from contender.kinds._table import parsed

    numbers, bad = parsed(column.to_pylist())
    if bad.any() or len(np.unique(numbers[np.isfinite(numbers)])) < MANY:
        return None
    numbers = np.clip(numbers, -MOST, MOST).reshape(-1, 1)
    tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, random_state=0).fit(numbers[known], labels[known])
    return np.asarray(tree.predict(numbers))


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow.compute as pc

    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)), np.int64)
