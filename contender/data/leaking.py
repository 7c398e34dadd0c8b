"""Columns of a table that give the label away: they hold what is only known once the label is.

A column is a leak where it alone answers nearly as well as can be: for each of its values (or, of many numbers, each of 256 parts of
equal size) the commonest label among every second row, tried on the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contender.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED = 100_000  # rows that are looked at
PARTS = 256  # of a column of many numbers
FEWEST = 30  # rows that are not of the commonest label, without which chance can look like a leak
GIVEN_AWAY = 0.995  # of what the commonest label leaves wrong


def refuse_leaks(rows: Path, columns: Iterable[str]) -> None:
    """DataError naming the columns, of those given, that give away the label of the training rows in the row file `rows`."""
    from contender.data.values import as_text
    from contender.evaluation.evaluate import read_columns

    names = sorted(columns)
    table = read_columns(rows, [*names, "label"])
    places = np.unique(np.linspace(0, table.num_rows - 1, num=min(table.num_rows, SAMPLED)).astype(np.int64))
    table = table.take(places)
    labels = _codes(as_text(table.column("label")))
    found = {name: share for name in names if (share := explained(table.column(name), labels)) >= GIVEN_AWAY}
    if found:
        shown = ", ".join(f"{name} ({share:.1%})" for name, share in found.items())
        raise DataError(
            f"columns give the label away, each by itself: {shown} of what the commonest label gets wrong",
            "What is only known once the label is must not be read: name it under data.features.drop. Where it is known before, "
            "list the columns that are read under data.features.columns.",
        )


def explained(column: pa.ChunkedArray, labels: np.ndarray) -> float:
    """How much of what the commonest label gets wrong the column alone gets right; 0 where there are too few such rows to say."""
    known, tried = slice(0, None, 2), slice(1, None, 2)
    common = np.bincount(labels[known]).argmax() if len(labels) else 0
    wrong = labels[tried] != common
    if wrong.sum() < FEWEST:
        return 0.0
    values = _values(column)
    counts = np.zeros((values.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (values[known], labels[known]), 1)
    answers = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), common)
    missed = (answers[values[tried]] != labels[tried]).sum()
    return float(1 - missed / wrong.sum())


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """Codes (rows,) of the column's values, or of parts of equal size where it holds many numbers."""
    from contender.kinds._table import parsed

    codes = _codes(column)
    if codes.max(initial=0) < PARTS:
        return codes
    numbers, bad = parsed(column.to_pylist())
    if bad.any() or not np.isfinite(numbers).any():
        return codes
    edges = np.unique(np.nanquantile(numbers[~np.isinf(numbers)], np.linspace(0, 1, PARTS + 1)[1:-1]))
    return np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow.compute as pc

    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)), np.int64)
