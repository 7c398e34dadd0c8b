"""Row files turned into model inputs: once per job, in bounded memory, and memory-mapped from then on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from filelock import FileLock

CHUNK = 2_000  # rows in memory at a time


def derive(
    rows: datasets.Dataset, path: Path, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> datasets.Dataset:
    """`change(chunk of columns)` over all rows, written to `path`; read from there where it is already whole, or another process makes it.

    What comes of a chunk may have other rows than it, or none.
    """
    if len(rows) == 0:
        return datasets.Dataset.from_dict({})
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # jobs side by side may share it
            if not path.exists():
                temporary = path.with_name(f".{path.name}.{os.getpid()}")
                write_stream(temporary, (change(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)))
                temporary.replace(path)
    return datasets.Dataset.from_file(str(path)) if path.stat().st_size else datasets.Dataset.from_dict({})


def write_stream(path: Path, chunks: Iterable[Mapping[str, Any]]) -> None:
    """An Arrow stream of chunks of columns that all have the types of the first; no bytes where all chunks are empty."""
    schema = None
    with pa.OSFile(str(path), "wb") as sink:
        writer = None
        for chunk in chunks:
            if not len(next(iter(chunk.values()))):
                continue  # nothing of these rows is left, and an empty list has no type
            batch = pa.table({name: _array(values) for name, values in chunk.items()}, schema=schema)
            if writer is None:
                schema = batch.schema
                writer = pa.ipc.new_stream(sink, schema)
            writer.write_table(batch)
        if writer is not None:
            writer.close()


def _array(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    if isinstance(values, list) and values and isinstance(values[0], list):
        return pa.array(values, pa.list_(pa.int32()))
    return pa.array(values)


def used_ids(*tables: datasets.Dataset) -> np.ndarray:
    """The token ids that occur, sorted."""
    found: set[int] = set()
    for table in filter(len, tables):
        for chunk in table.data.column("input_ids").chunks:
            found.update(np.unique(chunk.flatten().to_numpy()).tolist())
    return np.array(sorted(found), np.int64)
