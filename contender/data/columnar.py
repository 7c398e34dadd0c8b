"""parquet and Arrow files, read batch by batch from a local copy: both need to seek."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from contender.data.delimited import check_names
from contender.data.values import plain
from contender.errors import DataError

BATCH_ROWS = 16_384
BATCH_BYTES = 16 << 20


def read_parquet(path: Path, name: str) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with _errors(name, "parquet"), pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        check_names(file.schema_arrow.names, name)
        rows = max(file.metadata.num_rows, 1)
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
        batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))
        for batch in file.iter_batches(batch_size=batch_rows):
            yield _plain(batch)
        if not file.metadata.num_rows:
            yield _plain(pa.RecordBatch.from_pylist([], schema=file.schema_arrow))


def read_arrow(path: Path, name: str) -> Iterator[pa.RecordBatch]:
    """Arrow's file format or its stream format, whichever the file begins with."""
    with _errors(name, "Arrow"), pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        batches = _file_batches(source) if is_file else pa.ipc.open_stream(source)
        for batch in batches:
            check_names(batch.schema.names, name)
            step = max(1, min(BATCH_ROWS, BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1)))
            for start in range(0, max(batch.num_rows, 1), step):
                yield _plain(batch.slice(start, step))


def _file_batches(source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(source)
    return (reader.get_batch(n) for n in range(reader.num_record_batches))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch([plain(column) for column in batch.columns], names=batch.schema.names)


@contextmanager
def _errors(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        pa.ArrowTypeError,
        pa.ArrowKeyError,
        UnicodeDecodeError,
    ) as error:
        raise DataError(
            f"{name} cannot be read as {what}: {_first_line(error)}", "Write or copy the file again."
        ) from error
    except OSError as error:
        # Arrow reports damaged pages as OSError without a number; a full disk has one.
        if error.errno is not None:
            raise
        raise DataError(f"{name} is damaged: {_first_line(error)}", "Write or copy the file again.") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
