"""Nested parts of a training set: which rows belong to a fraction of it follows from the hash of their split key alone.

Hashes of training rows are those above the shares of test and validation, so they are mixed once more before a fraction is cut off.
A row of a fraction is in every larger one, wherever it stands and however the data grows, and rows of one key stay together.
Labels fall into a fraction as hashes have it; of every label the key with the lowest one is always taken, so that none is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contender.data.media import REFERENCE
from contender.data.rowfile import read_batches
from contender.data.setfile import KEY, TIME, SetWriter
from contender.files import link_or_copy
from contender.keys import Array, among
from contender.names import Labels, Task


@dataclass(frozen=True)
class Part:
    """Rows of a fraction, and how many of them are there only so that every label has one."""

    rows: int
    added: int
    digest: str


def mixed(keys: Array) -> Array:
    """(keys,) uint64, evenly spread whatever range the keys are of: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    found = keys.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(found ^ (found >> np.uint64(31)))


def take_fraction(split: Path, fraction: float, roles: Sequence[str], task: Task, out: Path) -> Part:
    """Writes what of a split's `train.arrow` belongs to the fraction into the folder `out`, and the validation set beside it."""
    firsts = _first_keys(split / "train.arrow", task)
    end = np.uint64(min(int(fraction * 2.0**64), 2**64 - 1))
    with pa.OSFile(str(split / "train.arrow")) as source, pa.ipc.open_stream(source) as reader:
        keep = [name for name in reader.schema.names if name not in (*roles, KEY, TIME)]
    added = 0
    with closing(SetWriter(out / "train.arrow", {role: role for role in roles}, keep, task)) as writer:
        for batch in read_batches(split / "train.arrow"):
            keys = batch.column(KEY).to_numpy()
            within = mixed(keys) < end
            first = among(keys, firsts) & ~within
            added += int(first.sum())
            taken = within | first
            writer.add(batch.filter(pa.array(taken)), keys[taken])
    for name in ("validation.arrow", REFERENCE):
        if (split / name).exists():
            link_or_copy(split / name, out / name)
    return Part(writer.rows, added, writer.digest)


def _first_keys(rows: Path, task: Task) -> Array:
    """Of every label the key whose hash is the lowest, sorted; none where there are no labels."""
    lowest: dict[str, tuple[int, int]] = {}
    for batch in read_batches(rows) if task.labels != "none" else ():
        keys = batch.column(KEY).to_numpy()
        order = mixed(keys)
        for target, place in _lowest_rows(batch.column(task.target), order):
            found = int(order[place]), int(keys[place])
            for label in _labels(target, task.labels):
                lowest[label] = min(found, lowest.get(label, found))
    return np.unique(np.array([key for _, key in lowest.values()], np.uint64))


def _lowest_rows(targets: Any, order: Array) -> list[tuple[str, int]]:
    """Each distinct target of a batch, and its row of the lowest hash."""
    encoded = targets.dictionary_encode()
    codes = encoded.indices.to_numpy()
    sorted_rows = np.lexsort((order, codes))
    present, first = np.unique(codes[sorted_rows], return_index=True)
    names = encoded.dictionary.to_pylist()
    return [(names[code], int(sorted_rows[at])) for code, at in zip(present, first, strict=True)]


def _labels(target: str, labels: Labels) -> list[str]:
    return [target] if labels == "one" else json.loads(target)
