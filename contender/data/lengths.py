"""A part of the rows that takes a training as long for each row as all of them would.

A training's batches are of examples of like length, and a step takes as long as its batch is wide. So the part is made of whole such
batches, evenly spaced from the shortest examples to the longest.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from contender.data.rowfile import read_batches
from contender.data.values import as_text
from contender.keys import Array


def lengths_of(rows: Path, columns: Collection[str], read: Collection[str]) -> Array:
    """(rows,) int64: bytes of text in the columns that are `read`; -1 where one of `columns` is empty, which the quality gate refuses."""
    found = [np.empty(0, np.int64)]
    for batch in read_batches(rows):
        total = np.zeros(batch.num_rows, np.int64)
        whole = np.ones(batch.num_rows, bool)
        for name in columns:
            sizes = pc.fill_null(pc.binary_length(as_text(batch.column(name))), 0).to_numpy(zero_copy_only=False)
            whole &= sizes > 0
            if name in read:
                total += sizes
        found.append(np.where(whole, total, -1))
    return np.concatenate(found)


def spread(lengths: Array, count: int, size: int) -> Array:
    """Places (count,), sorted, of as many rows as were asked for, or of all where there are fewer: blocks of `size` of like length."""
    order = np.argsort(lengths, kind="stable")
    count = min(count, len(order))
    blocks = -(-count // size)
    ends = np.linspace(0, len(order), blocks + 1).astype(np.int64)  # each block lies in the middle of its stretch
    taken = []
    for number, (start, end) in enumerate(pairwise(ends)):
        wanted = count * (number + 1) // blocks - count * number // blocks
        first = start + (end - start - wanted) // 2
        taken.append(order[first : first + wanted])
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)
