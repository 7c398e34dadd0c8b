"""The files of a split: one row file per set, with roles, kept columns and the hash of the split key, all but the hash as text."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contender.data.jsonlists import label_sets
from contender.data.times import seconds_of
from contender.data.values import as_text
from contender.names import TASKS, Task
from contender.records import sha256_hex

KEY = "_key"
TIME = "_split_time"  # float64 seconds since 1970, of a split by time


class SetWriter:
    """One set's row file, its counts, and its digest, which depends on the rows and not on how they came in batches."""

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        keep: Sequence[str],
        task: Task = TASKS["text-classification"],
        time: str | None = None,
    ) -> None:
        """`time`: the column of the rows' times, where they are kept as TIME; no part of the digest."""
        self.rows = 0
        self.labels: Counter[str] = Counter()
        self._columns, self._keep, self._task, self._time = columns, keep, task, time
        names = [*columns, *keep]
        timed = [] if time is None else [(TIME, pa.float64())]
        self._schema = pa.schema([*((name, pa.string()) for name in names), (KEY, pa.uint64()), *timed])
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        # Columns without a role count where examples are made of them; elsewhere they only name slices.
        self._read = len(names) if task.example is None else len(columns)
        self._parts = [hashlib.sha256() for _ in range(1 + 2 * self._read)]

    def add(self, batch: pa.RecordBatch, keys: np.ndarray[Any, Any]) -> None:
        if not batch.num_rows:
            return
        roles = [self._cells(batch, role) for role in self._columns]
        kept = [self._kept(batch, name) for name in self._keep]
        times = [] if self._time is None else [pa.array(seconds_of(batch.column(self._time), self._time))]
        arrays = [*roles, *kept, pa.array(keys, pa.uint64()), *times]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.rows += batch.num_rows
        self._digest(keys, [*roles, *kept][: self._read])
        if self._task.labels != "none":
            target = roles[list(self._columns).index(self._task.target)]
            for entry in pc.value_counts(target).to_pylist():
                for label in self._labels(entry["values"]):
                    self.labels[label] += entry["counts"]

    def close(self) -> None:
        if not self.rows:
            # datasets cannot open a stream without any batch.
            self._writer.write_batch(pa.RecordBatch.from_pylist([], schema=self._schema))
        self._writer.close()
        self._sink.close()

    @property
    def digest(self) -> str:
        return sha256_hex(b"".join(part.digest() for part in self._parts))

    def _labels(self, target: str) -> Iterator[str]:
        if self._task.labels == "one":
            yield target
        else:
            yield from json.loads(target)

    def _cells(self, batch: pa.RecordBatch, role: str) -> pa.Array:
        cells = as_text(batch.column(self._columns[role]))
        return label_sets(cells) if self._task.labels == "set" and role == self._task.target else cells

    def _kept(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        there = name in batch.schema.names
        return as_text(batch.column(name)) if there else pa.nulls(batch.num_rows, pa.string())

    def _digest(self, keys: np.ndarray[Any, Any], roles: Sequence[pa.Array]) -> None:
        self._parts[0].update(keys.astype("<u8").tobytes())
        for number, array in enumerate(roles):
            self._parts[1 + 2 * number].update(
                pc.fill_null(pc.binary_length(array), -1).to_numpy(False).astype("<i8").tobytes()
            )
            self._parts[2 + 2 * number].update(
                "".join(filter(None, array.to_pylist())).encode("utf-8", "surrogatepass")
            )
