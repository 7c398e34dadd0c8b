"""Row files: Arrow streams on disk, written in one go with bounded memory, opened memory-mapped.

Types are found while rows come in. Where a later file or a later row asks for another type or another column, or a file's rows
have to be taken back, what is written already is copied once in the new shape: rare, and never a second read of the source.

`_file` is plain text. A dictionary would be smaller, and datasets casts it to text in memory when it opens the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from contender.data.values import as_type, meeting

if TYPE_CHECKING:
    import datasets

FILE, ROW = "_file", "_row"
BATCH_ROWS = 65_536
BATCH_BYTES = 16 << 20
BATCH_PARTS = 2_048  # pieces of small files: each takes kilobytes of memory, however few its rows


def open_rows(path: Path) -> datasets.Dataset:
    """The rows of a row file, memory-mapped: opening takes no memory, whatever its size."""
    import datasets

    return datasets.Dataset.from_file(str(path))


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a row file, read as a stream: pages of a memory map would count as this process's memory."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def write_parts(
    sources: Sequence[Path], parts: Sequence[Path], chosen: Callable[[pa.RecordBatch], Sequence[np.ndarray[Any, Any]]]
) -> None:
    """Writes into each of the `parts` what its mask, one of those that `chosen` gives for a batch, picks of the sources' rows, in order.

    Batch by batch: memory does not grow with the rows. The sources have the same columns.
    """
    with ExitStack() as stack:
        writers: list[pa.RecordBatchStreamWriter] = []
        for source in sources:
            for batch in read_batches(source):
                # Of the first batch also no rows: datasets cannot open a stream without any batch.
                first = not writers
                writers = writers or [_stream(stack, part, batch.schema) for part in parts]
                for writer, mask in zip(writers, chosen(batch), strict=True):
                    if first or mask.any():
                        writer.write_batch(batch.filter(pa.array(mask)))


def _stream(stack: ExitStack, path: Path, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
    sink = stack.enter_context(pa.OSFile(str(path), "wb"))
    return stack.enter_context(pa.ipc.new_stream(sink, schema))


class RowWriter:
    """Writes rows file by file: `begin`, `add`…, then `begin` the next one, or `take_back` what this one added; `close` at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kinds: dict[str, pa.DataType] = {}
        self.rows = self.left_out = 0  # of the current file
        self.file_columns: dict[str, None] = {}
        self._file = ""
        self._pending: list[tuple[str, pa.Array, pa.RecordBatch]] = []
        self._pending_rows = self._pending_bytes = 0
        self._written = 0  # batches
        self._mark = (0, 0, self.kinds)
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None

    def begin(self, file: str) -> None:
        self._file, self.rows, self.left_out, self.file_columns = file, 0, 0, {}
        self._mark = (self._written, len(self._pending), dict(self.kinds))

    def add(self, batch: pa.RecordBatch, wanted: pa.Array | None = None) -> None:
        """The next rows of the current file; those that are not `wanted` are left out, and counted as rows that it has."""
        for field in batch.schema:
            self.file_columns[field.name] = None
            known = self.kinds.get(field.name)
            self.kinds[field.name] = field.type if known is None else meeting(known, field.type)
        first = self.rows + self.left_out + 1
        numbers = pa.arange(first, first + batch.num_rows)
        if wanted is not None:
            self.left_out += batch.num_rows - wanted.true_count
            numbers, batch = numbers.filter(wanted), batch.filter(wanted)
        if not batch.num_rows:
            return
        self._pending.append((self._file, numbers, batch))
        self.rows += batch.num_rows
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        full = self._pending_rows >= BATCH_ROWS or self._pending_bytes >= BATCH_BYTES
        if full or len(self._pending) >= BATCH_PARTS:
            self._flush()

    def take_back(self) -> None:
        """Forgets every row of the current file."""
        written, pending, kinds = self._mark
        if len(self._pending) > pending:
            del self._pending[pending:]
            self._count()
        self.kinds = dict(kinds)
        if self._written > written:
            self._rewrite(written)
        self.rows, self.left_out, self.file_columns = 0, 0, {}

    def close(self) -> None:
        """Writes what is left. A column that never held a value is text."""
        self.kinds = {name: pa.string() if pt.is_null(kind) else kind for name, kind in self.kinds.items()}
        self._mark = (self._written, 0, self.kinds)  # nothing will be taken back any more
        self._flush()
        self._open()
        if not self._written and self._schema is not None:
            # datasets cannot open a stream without any batch.
            self._write(pa.RecordBatch.from_pylist([], schema=self._schema))
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Closes what is open, after an error."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        """Pending rows as a batch; those of earlier files as their own, so that the current file's can be taken back."""
        _, earlier, kinds = self._mark
        parts = [self._pending[:earlier], self._pending[earlier:]]
        self._open()
        for number, part in enumerate(parts):
            if part:
                self._write(self._joined(part))
            if earlier and not number:
                self._mark = (self._written, 0, kinds)
        self._pending = []
        self._count()

    def _count(self) -> None:
        self._pending_rows = sum(batch.num_rows for *_, batch in self._pending)
        self._pending_bytes = sum(batch.nbytes for *_, batch in self._pending)

    def _joined(self, part: list[tuple[str, int, pa.RecordBatch]]) -> pa.RecordBatch:
        columns: dict[str, Any] = {name: [] for name in self.kinds}
        files, numbers = [], []
        for file, places, batch in part:
            for name, kind in self.kinds.items():
                place = batch.schema.get_field_index(name)
                columns[name].append(
                    pa.nulls(batch.num_rows, kind) if place < 0 else as_type(batch.column(place), kind)
                )
            files.append(pa.repeat(pa.scalar(file), batch.num_rows))
            numbers.append(places)
        arrays = [pa.concat_arrays(column) for column in [*columns.values(), files, numbers]]
        return pa.record_batch(arrays, names=[*columns, FILE, ROW])

    def _write(self, batch: pa.RecordBatch) -> None:
        assert self._writer is not None
        self._writer.write_batch(batch)
        self._written += 1

    def _open(self) -> None:
        """A writer of the present schema; what was written with another one is copied."""
        schema = pa.schema([*self.kinds.items(), (FILE, pa.string()), (ROW, pa.int64())])
        if self._writer is not None and schema == self._schema:
            return
        if self._writer is not None:
            self._rewrite(self._written)
            return
        self._schema = schema
        self._writer = pa.ipc.new_stream(pa.OSFile(str(self.path), "wb"), schema)

    def _rewrite(self, batches: int) -> None:
        assert self._writer is not None
        self._writer.close()
        self._writer, self._written = None, 0
        old = self.path.with_name(f"{self.path.name}.old")
        self.path.replace(old)
        try:
            self._open()
            for number, batch in enumerate(read_batches(old)):
                if number == batches:
                    break
                self._write(_reshaped(batch, self.kinds))
        finally:
            old.unlink()


def _reshaped(batch: pa.RecordBatch, kinds: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    columns = []
    for name, kind in kinds.items():
        place = batch.schema.get_field_index(name)
        columns.append(pa.nulls(batch.num_rows, kind) if place < 0 else as_type(batch.column(place), kind))
    return pa.record_batch([*columns, batch.column(FILE), batch.column(ROW)], names=[*kinds, FILE, ROW])
