"""The rows of a snapshot as the gate sees them: role columns under their role names, in chunks of bounded size.

Row files are read as a stream, record batch by record batch: pages that a memory map has touched would count as this process's
memory until the kernel takes them back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

MAX_CHUNK_BYTES = 64 << 20  # a chunk of 50,000 rows ends early where cells are huge
_NULLABLE = {
    # pandas turns whole numbers into floats where a chunk holds a null; these keep them, so every chunk has the same type.
    **{
        kind(): dtype
        for kind, dtype in ((pa.int64, pd.Int64Dtype()), (pa.int32, pd.Int32Dtype()), (pa.int16, pd.Int16Dtype()))
    },
    pa.int8(): pd.Int8Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
INTERNAL = ("_file", "_row")


@dataclass(frozen=True)
class RowFile:
    """A row file and the names under which the gate sees its columns: view name → column of the file."""

    path: Path
    names: Mapping[str, str]
    roles: frozenset[str]

    def chunks(self, rows: int, max_bytes: int = MAX_CHUNK_BYTES) -> Iterator[tuple[int, pa.Table]]:
        """(index of the first row, table with the file's own columns), each of at most `rows` rows."""
        start = 0
        for table in _regroup(self._batches(max_bytes), rows, max_bytes):
            yield start, table
            start += table.num_rows

    def _batches(self, max_bytes: int) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                step = max(1, min(batch.num_rows, batch.num_rows * max_bytes // max(batch.nbytes, 1)))
                for offset in range(0, batch.num_rows, step):
                    yield batch.slice(offset, step)

    def count(self) -> int:
        """The number of rows; the map gives each batch's length without reading its columns."""
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_stream(source) as stream:
            return sum(batch.num_rows for batch in stream)

    def schema(self) -> pa.Schema:
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as stream:
            return stream.schema

    def types(self) -> dict[str, pa.DataType]:
        """The type of each column of the view that is not a role, as `view` gives it; roles are text."""
        schema = self.schema()
        own = {name: schema.field(column).type for name, column in self.names.items() if name not in self.roles}
        return {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in own.items()}

    def view(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        """The named columns of the view; roles as text, as the split takes them."""
        arrays = [table.column(self.names[name]) for name in columns]
        return pa.table(
            [
                as_text(array) if name in self.roles else _plain(array)
                for name, array in zip(columns, arrays, strict=True)
            ],
            names=list(columns),
        )

    def frame(self, table: pa.Table, columns: Sequence[str], start: int) -> pd.DataFrame:
        """The named columns as pandas, indexed by the rows' place in the snapshot."""
        frame: pd.DataFrame = self.view(table, columns).to_pandas(types_mapper=_NULLABLE.get)
        frame.index = pd.RangeIndex(start, start + table.num_rows)
        return frame


def open_row_file(path: Path, columns: Mapping[str, str]) -> RowFile:
    """The row file at `path`, its role columns (role → column) under their roles."""
    own = RowFile(path, {}, frozenset()).schema().names
    taken = {*columns, *columns.values(), *INTERNAL}
    return RowFile(path, {**columns, **{name: name for name in own if name not in taken}}, frozenset(columns))


def _regroup(batches: Iterator[pa.RecordBatch], rows: int, max_bytes: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows, the last one aside, or of fewer where they reach `max_bytes`."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, rows - count)
            batch = batch.slice(part.num_rows)
            held.append(part)
            count, size = count + part.num_rows, size + part.nbytes
            if count == rows or size >= max_bytes:
                yield pa.Table.from_batches(held)
                held, count, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


def as_text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text: numbers as they are written, nested values as JSON, undecodable bytes as U+FFFD."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array
    try:
        return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array([_text(value) for value in array.to_pylist()], type=pa.string())])


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _plain(array: pa.ChunkedArray) -> pa.ChunkedArray:
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
