"""Rows of a source of pictures or sounds: what each file gives, and what is said of one that gives nothing.

    a folder      cats/1.jpg                     the role holds the content, `label` the name of the folder that the file lies in
    an archive    photos.zip, cats/1.jpg in it   the same; `path` is photos.zip!cats/1.jpg
    a table       its column of the role's name  a path relative to the table's folder, of a file or of an archive's member; where a
                                                 source holds a table, its rows are the rows, and the files beside it give none

A file that cannot be decoded gives a row whose role is null and whose `_fault` says why, so the quality gate counts and shows it.
"""

from __future__ import annotations

import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from contender.data.archives import Member, tar_members, zip_members
from contender.data.delimited import FAULT
from contender.data.formats import Format, Media, is_media, left_out_by_name
from contender.data.media import PackWriter
from contender.data.mediafault import Unusable
from contender.data.streams import Hashed
from contender.data.values import as_text
from contender.files import CHUNK
from contender.names import PATH
from contender.text import shorten

LABEL = "label"
ROWS = 256  # of a batch
INSIDE = "!"  # between an archive's path and that of a member


class MediaRows:
    """One reading: remembers what every path of the source holds, for the tables that come last."""

    def __init__(self, media: Media, column: str, rows: Path, tables: bool) -> None:
        """`column`: that of the role; `rows`: the row file; `tables`: whether the source holds any."""
        self._media = media
        self._column = column
        self._tables = tables
        self._pack = PackWriter(rows)
        self._known: dict[str, tuple[str | None, str | None]] = {}  # path → value, fault

    def close(self) -> None:
        self._pack.close()

    def abandon(self) -> None:
        self._pack.abandon()

    def of_file(self, stream: Hashed, path: str) -> Iterator[pa.RecordBatch]:
        yield from self._rows([Member(path, 1, stream.read())], "")

    def of_archive(
        self, stream: Any, form: Format, path: str, hashed: Hashed, folder: Path
    ) -> Iterator[pa.RecordBatch]:
        """`stream`: the archive's bytes, unpacked; `folder`: for a copy of a zip, which needs to be sought in."""
        yield from self._rows(_members(stream, form, path, hashed, self._media, folder), path + INSIDE)

    def of_table(self, batch: pa.RecordBatch, table: str) -> pa.RecordBatch:
        """A table's rows, with content in the place of paths, and the paths in a column of their own."""
        names = batch.schema.names
        if self._column not in names:
            return batch
        paths = as_text(batch.column(self._column)).to_pylist()
        found = [self._named(path, table) for path in paths]
        said = as_text(batch.column(FAULT)).to_pylist() if FAULT in names else [None] * len(paths)
        faults = [old or fault for old, (_, fault) in zip(said, found, strict=True)]
        columns = {name: batch.column(name) for name in names if name != FAULT}
        columns[self._column] = pa.array([value for value, _ in found], pa.string())
        columns.setdefault(PATH, pa.array(paths, pa.string()))
        return _batch(columns, faults)

    def _rows(self, members: Any, above: str) -> Iterator[pa.RecordBatch]:
        waiting: list[tuple[str, str | None, str | None]] = []
        for member in members:
            path = above + member.name
            value, fault = self._looked_at(member, above)
            self._known[path] = (value, fault)
            if not self._tables:
                waiting.append((path, value, fault))
            if len(waiting) == ROWS:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _looked_at(self, member: Member, above: str) -> tuple[str | None, str | None]:
        fault = member.fault or self._fault(member.data)
        if fault:
            return None, f"{shorten(member.name, 100)}: {fault}" if above else fault
        return self._pack.add(member.data), None

    def _fault(self, data: bytes) -> str | None:
        """Why bytes cannot be used, found by decoding all of them."""
        try:
            if self._media == "image":
                from contender.data.images import read_image

                read_image(data)
            else:
                from contender.data.sounds import read_sound

                read_sound(data, None)
        except Unusable as fault:
            return str(fault)
        return None

    def _batch(self, rows: list[tuple[str, str | None, str | None]]) -> pa.RecordBatch:
        paths, values, faults = zip(*rows, strict=True)
        labels = [_folder_of(path) for path in paths]
        columns = {self._column: values, LABEL: labels, PATH: paths}
        return _batch({name: pa.array(cells, pa.string()) for name, cells in columns.items()}, list(faults))

    def _named(self, path: str | None, table: str) -> tuple[str | None, str | None]:
        if not path:
            return None, f"the table names no {self._media}"
        shown = shorten(path, 100)
        place = posixpath.normpath(posixpath.join(posixpath.dirname(table), path))
        if path.startswith("/") or "://" in path or place.startswith("../") or "\0" in path:
            return None, f"{shown!r} leads out of the source"
        value, fault = self._known.get(place, (None, "there is no such file"))
        return value, f"{shown!r}: {fault}" if fault else None


def members_in(stream: Any, form: Format, path: str, hashed: Hashed, media: Media, folder: Path) -> int:
    """How many rows an archive gives, those that the gate will set apart among them."""
    return sum(1 for _ in _members(stream, form, path, hashed, media, folder))


def _members(stream: Any, form: Format, path: str, hashed: Hashed, media: Media, folder: Path) -> Iterator[Member]:
    def wanted(name: str) -> bool:
        # A member whose name leads elsewhere is wanted, to be named.
        parts = (part for part in name.split("/") if part not in ("", ".", ".."))
        return is_media(name, media) and not any(map(left_out_by_name, parts))

    if form.name == "tar":
        yield from tar_members(stream, path, wanted, lambda: hashed.size)
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".spool-") as copy:
        shutil.copyfileobj(stream, copy, CHUNK)
        copy.flush()
        yield from zip_members(Path(copy.name), path, wanted)


def _batch(columns: dict[str, pa.Array], faults: list[str | None]) -> pa.RecordBatch:
    if any(faults):
        columns = {**columns, FAULT: pa.array(faults, pa.string())}
    return pa.record_batch(list(columns.values()), names=list(columns))


def _folder_of(path: str) -> str | None:
    """The name of the folder that a file lies in; None at the top of a source or of an archive."""
    inside = path.rsplit(INSIDE, 1)[-1].split("/")
    return inside[-2] if len(inside) > 1 else None
