"""Held-out rows: which of one set stay, which repeat another, and which contradict each other."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from contender.data.rowfile import FILE, ROW
from contender.data.values import as_text
from contender.errors import DataError
from contender.text import safe_cell, shorten

MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing

Array = np.ndarray[Any, Any]


def row_ids(keys: Array, texts: Array) -> Array:
    """Which row it is, by the hashes of its split key and its text, uint64 (rows,) each."""
    return np.asarray((keys * MIX) ^ texts)


def _none(kind: type = np.uint64) -> Array:
    return np.empty(0, kind)


@dataclass
class Held:
    """The rows of one held-out set, in order.

    Of rows with the same key and text the first stays; where their labels differ, none does, since one of them must be wrong. In
    memory: 32 bytes per row while they come in, and from `finish` on 2 bytes per row and 8 per text.

    Not `distinct`: all stay, as rows that look alike may be different ones.
    """

    distinct: bool = True
    stays: Array = field(default_factory=lambda: _none(bool))
    conflicting: Array = field(default_factory=lambda: _none(bool))
    texts: Array = field(default_factory=_none)  # hashes, sorted; of rows that do not stay too
    _parts: list[tuple[Array, Array, Array]] = field(default_factory=list)

    def add(self, keys: Array, texts: Array, labels: Array) -> None:
        """The next rows' hashes, uint64 (rows,) each."""
        self._parts.append((row_ids(keys, texts), texts, labels))

    def finish(self) -> Held:
        pairs, texts, labels = (
            np.concatenate([_none(), *(part[column] for part in self._parts)]) for column in range(3)
        )
        self._parts = []
        self.texts = np.unique(texts)
        if not self.distinct:
            self.stays, self.conflicting = np.ones(len(pairs), bool), np.zeros(len(pairs), bool)
            return self
        _, first, whose = np.unique(pairs, return_index=True, return_inverse=True)
        differs = np.zeros(len(first), bool)
        differs[whose[labels != labels[first][whose]]] = True
        self.conflicting = differs[whose]
        self.stays = np.zeros(len(pairs), bool)
        self.stays[first] = True
        self.stays &= ~self.conflicting
        return self

    @property
    def conflicts(self) -> int:
        return int(self.conflicting.sum())

    @property
    def repeated(self) -> int:
        return len(self.stays) - int(self.stays.sum()) - self.conflicts


class Conflicts:
    """Writes `conflicts.csv`: the held-out rows that contradict each other. Without one there is no file."""

    def __init__(
        self, path: Path, columns: Mapping[str, str], target: str = "label", example: str | None = "text"
    ) -> None:
        self._path, self._columns = path, columns
        self._roles = (target, *([example] if example else []))
        self._stream: TextIO | None = None
        self._writer: Any = None
        self._first: dict[str, str] = {}

    def add(self, held_out: str, batch: pa.RecordBatch) -> None:
        """Rows of the set `held_out` that do not stay."""
        if not batch.num_rows:
            return
        if self._stream is None:
            self._stream = self._path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._stream)
            self._writer.writerow([FILE, ROW, "set", *self._roles])
        files, numbers = batch.column(FILE).to_pylist(), batch.column(ROW).to_pylist()
        cells = [as_text(batch.column(self._columns[role])).to_pylist() for role in self._roles]
        for file, number, target, *example in zip(files, numbers, *cells, strict=True):
            self._writer.writerow([safe_cell(file), number, held_out, *map(safe_cell, (target, *example))])
            self._first.setdefault(held_out, f"row {number} of {file} (labelled {shorten(target, 80)!r})")

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def check(self, held_out: str, held: Held) -> None:
        """DataError where the conflicts leave nothing of a set."""
        if held.conflicts and not held.stays.any():
            raise DataError(
                f"no row of {held_out} is left: each of the {held.conflicts:,} has the key and text of another and a different "
                f"label, such as {self._first[held_out]}",
                "Correct the labels: of rows that contradict each other none can be judged on.",
            )
