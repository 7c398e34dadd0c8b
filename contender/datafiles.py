"""A snapshot's files as a parquet table, as it lies in a registry: beside each release, and for each snapshot that was decided on.

Columns: set (source or golden-<name>), path relative to its source, size, sha256, rows. Nothing in it tells of a machine.
"""

from __future__ import annotations

import io
from typing import Any

from contender.errors import Damaged
from contender.records import FileSet, Snapshot, SourceFile
from contender.registry import DATA_FILES, Registry

SOURCE, GOLDEN = "source", "golden-"
FIELDS = ("path", "size", "sha256", "rows")


def sets_of(snapshot: Snapshot) -> dict[str, FileSet]:
    """Set → its files."""
    return {SOURCE: snapshot.source} | {f"{GOLDEN}{name}": files for name, files in snapshot.golden.items()}


def data_files(snapshot: Snapshot) -> bytes:
    """The snapshot's files as a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {"set": [], **{field: [] for field in FIELDS}}
    for name, files in sets_of(snapshot).items():
        for file in sorted(files.files, key=lambda file: file.path):
            columns["set"].append(name)
            for field in FIELDS:
                columns[field].append(getattr(file, field))
    types = {"set": pa.string(), "path": pa.string(), "size": pa.int64(), "sha256": pa.string(), "rows": pa.int64()}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def files_of_release(registry: Registry, release: str) -> Snapshot | None:
    """The files that the release's snapshot saw; None where it does not know them."""
    stored = registry.beside(release, DATA_FILES)
    return None if stored is None else read_data_files(stored, f"{DATA_FILES} of {release}")


def read_data_files(data: bytes, name: str, digest: str | None = None) -> Snapshot:
    """The snapshot that a table describes, without what was left out of it.

    Damaged, naming it, where it is no such table, or one of another digest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        sets: dict[str, list[SourceFile]] = {SOURCE: []}
        for row in rows:
            sets.setdefault(row.pop("set"), []).append(SourceFile(**row))
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise Damaged(
            f"{name} is no table of a snapshot's files: {type(error).__name__}", "Restore it from a backup."
        ) from error
    source = FileSet(files=tuple(sets.pop(SOURCE)))
    golden = {name.removeprefix(GOLDEN): FileSet(files=tuple(files)) for name, files in sets.items()}
    snapshot = Snapshot(source=source, golden=golden)
    if digest not in (None, snapshot.digest):
        raise Damaged(f"{name} names other files than were decided on", "Restore it from a backup.")
    return snapshot
