"""Folds: the rows of train and validation in parts, each of which validates a model that others train.

By keys: those of each label, the ones with most rows first and then by their hash, are dealt to the folds in turn, like cards. So a
label's keys are spread evenly, its large ones too, and the same rows make the same folds in whatever order they come.
By time: k cuts make k + 1 blocks of about as many rows, and all that is older than a block trains for it, as in scikit-learn's
TimeSeriesSplit; rows of the same moment stay together.

scikit-learn's StratifiedGroupKFold takes 160 microseconds a key, and of another order come other folds; this takes 4.
In memory: some 50 bytes per row while keys are dealt, and 9 per key while files are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from contender.data.fractions import mixed
from contender.data.media import REFERENCE
from contender.data.rowfile import read_batches, write_parts
from contender.data.setfile import KEY, TIME
from contender.errors import DataError
from contender.files import link_or_copy
from contender.keys import Array
from contender.names import Task

SETS = ("train", "validation")


@dataclass(frozen=True)
class Fold:
    """Rows of one fold, the labels that it validates and does not train, and those that it does not validate."""

    trained: int
    validated: int
    untrained: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()


class Dealing(Protocol):
    """Of each fold which rows of a batch validate, and which train: (rows,) bool each."""

    def masks(self, batch: pa.RecordBatch) -> list[tuple[Array, Array]]: ...


@dataclass(frozen=True)
class ByKey:
    """Folds of keys: (keys,) uint64, sorted, and the fold of each, (keys,) int8, from 0 on."""

    keys: Array
    places: Array
    count: int

    def masks(self, batch: pa.RecordBatch) -> list[tuple[Array, Array]]:
        found = self.places[np.searchsorted(self.keys, batch.column(KEY).to_numpy())]
        return [(found == fold, found != fold) for fold in range(self.count)]


@dataclass(frozen=True)
class ByTime:
    """Folds of time: each begins after its cut and ends with the next, all in seconds since 1970; `gap`: seconds before a fold whose
    rows do not train for it."""

    cuts: Array
    gap: float

    def masks(self, batch: pa.RecordBatch) -> list[tuple[Array, Array]]:
        times = batch.column(TIME).to_numpy()
        return [
            ((times > begins) & (times <= ends), times <= begins - self.gap)
            for begins, ends in pairwise([*self.cuts, np.inf])
        ]


def write_folds(split: Path, count: int, task: Task, out: Path, gap: float | None = None) -> list[Fold]:
    """Writes `train.arrow` and `validation.arrow` of each fold into `out`/1, `out`/2…, from those of a split; reads no other set.

    `gap`: of a split by time, whose rows have times; else rows go by their keys. DataError where there is too little for so many folds.
    """
    files = [split / f"{name}.arrow" for name in SETS]
    labels = _Labels(task)
    dealing = deal(*_keys(files, labels), count) if gap is None else cut(_times(files), count, gap)
    folders = [out / f"{number}" for number in range(1, count + 1)]
    for folder in folders:
        folder.mkdir()
        if (split / REFERENCE).exists():
            link_or_copy(split / REFERENCE, folder / REFERENCE)
    validated, trained = ([_Tally() for _ in folders] for _ in range(2))

    def masks(batch: pa.RecordBatch) -> list[Array]:
        codes = labels.codes(batch)
        found = []
        for fold, (validates, trains) in enumerate(dealing.masks(batch)):
            validated[fold].add(codes[validates])
            trained[fold].add(codes[trains])
            found += [validates, trains]
        return found

    write_parts(files, [folder / f"{name}.arrow" for folder in folders for name in ("validation", "train")], masks)
    return [
        _fold(number, labels.names, *pair) for number, pair in enumerate(zip(trained, validated, strict=True), start=1)
    ]


def deal(keys: Array, codes: Array, count: int) -> ByKey:
    """Folds of rows by their keys, (rows,) uint64, and the codes of their labels, (rows,); a key with several goes by its commonest."""
    keys, codes, sizes = _unique(keys, codes)
    if len(keys) < count:
        raise DataError(
            f"cross_validation.folds is {count}, and the rows of train and validation have {len(keys):,} "
            f"key{'' if len(keys) == 1 else 's'} of data.split.key: rows of one key stay in one fold",
            "Lower cross_validation.folds, or bring more rows.",
        )
    order = np.lexsort((mixed(keys), -sizes, codes))
    places = np.empty(len(keys), np.int8)
    places[order] = np.arange(len(keys)) % count
    return ByKey(keys, places, count)


def _unique(keys: Array, codes: Array) -> tuple[Array, Array, Array]:
    """The keys, sorted, the commonest label of each, of equals the first, and its rows."""
    order = np.lexsort((codes, keys))
    keys, codes = keys[order], codes[order]
    del order
    first = np.flatnonzero(_begins(keys) | _begins(codes))  # of rows with one key and label
    rows = np.diff(first, append=len(keys)).astype(np.int32)
    keys, codes = keys[first], codes[first]
    begins = np.flatnonzero(_begins(keys))
    if len(begins) == len(keys):
        return keys, codes, rows
    commonest = np.lexsort((codes, -rows, keys))[begins]  # of each key the first
    return keys[begins], codes[commonest], np.add.reduceat(rows, begins)


def _begins(values: Array) -> Array:
    """(n,) bool: it is another value than the one before."""
    found = np.ones(len(values), bool)
    found[1:] = values[1:] != values[:-1]
    return found


def cut(times: Array, count: int, gap: float) -> ByTime:
    """Folds of rows by their times, (rows,) float64: cuts between `count` + 1 blocks of about as many rows, none of them empty."""
    moments, rows = np.unique(times, return_counts=True)
    if len(moments) <= count:
        raise DataError(
            f"cross_validation.folds is {count}, and the rows of train and validation are of {len(moments):,} different "
            f"time{'' if len(moments) == 1 else 's'}: with a split by time, that many folds need {count + 1}",
            "Lower cross_validation.folds, or bring rows of more times.",
        )
    ends = np.searchsorted(np.cumsum(rows), len(times) * np.arange(1, count + 1) / (count + 1))
    # A moment with very many rows would be the end of several blocks: the next ones end at the moments that follow, as far as they go.
    ends = np.maximum.accumulate(ends - np.arange(count)) + np.arange(count)
    ends = np.minimum(ends, len(moments) - 1 - np.arange(count, 0, -1))
    return ByTime(moments[ends], gap)


class _Labels:
    """Codes of labels, in the order in which they come; `sort` gives them that of their names."""

    def __init__(self, task: Task) -> None:
        self._column = task.target if task.labels == "one" else None
        self._codes: dict[str, int] = {}

    def codes(self, batch: pa.RecordBatch) -> Array:
        """(rows,) int32; all the same where a row has not one label of several."""
        if self._column is None:
            return np.zeros(batch.num_rows, np.int32)
        encoded = batch.column(self._column).dictionary_encode()
        known = [self._codes.setdefault(name, len(self._codes)) for name in encoded.dictionary.to_pylist()]
        return np.asarray(np.array(known, np.int32)[encoded.indices.to_numpy()])

    def sort(self, codes: Array) -> Array:
        """The codes that there are now for those that there were."""
        if not self._codes:
            return codes
        before, self._codes = self._codes, {name: at for at, name in enumerate(sorted(self._codes))}
        return np.array([self._codes[name] for name in before], np.int32)[codes]

    @property
    def names(self) -> list[str]:
        return list(self._codes)


class _Tally:
    """How many rows of each label there are."""

    def __init__(self) -> None:
        self.rows = 0
        self._counts = np.zeros(0, np.int64)

    def add(self, codes: Array) -> None:
        self.rows += len(codes)
        more = np.bincount(codes, minlength=len(self._counts))
        more[: len(self._counts)] += self._counts
        self._counts = more

    def has(self, code: int) -> bool:
        return code < len(self._counts) and bool(self._counts[code])


def _fold(number: int, names: Sequence[str], trained: _Tally, validated: _Tally) -> Fold:
    if not trained.rows:
        raise DataError(
            f"no row is old enough to train on for fold {number} of cross_validation: data.split.gap leaves all of them out",
            "Lower cross_validation.folds, or bring older rows.",
        )
    untried = [name for code, name in enumerate(names) if not validated.has(code)]
    untrained = [name for code, name in enumerate(names) if validated.has(code) and not trained.has(code)]
    return Fold(trained.rows, validated.rows, tuple(untrained), tuple(untried))


def _keys(files: Sequence[Path], labels: _Labels) -> tuple[Array, Array]:
    keys, codes = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for path in files:
        for batch in read_batches(path):
            keys.append(batch.column(KEY).to_numpy().copy())  # a view would keep the whole batch in memory
            codes.append(labels.codes(batch))
    return np.concatenate(keys), labels.sort(np.concatenate(codes))


def _times(files: Sequence[Path]) -> Array:
    found: list[Any] = [np.empty(0)]
    found += [batch.column(TIME).to_numpy().copy() for path in files for batch in read_batches(path)]
    return np.concatenate(found)
