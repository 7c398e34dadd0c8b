"""Every file of a source into one row file: each read once, hashed and parsed in the same pass."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from contender.data.ahead import Ahead
from contender.data.chatrows import ChatRows
from contender.data.columnar import read_arrow, read_parquet
from contender.data.conll import read_conll
from contender.data.delimited import FAULT, Dialect, ReadAgain, read_delimited
from contender.data.formats import Format, format_of, unfinished
from contender.data.jsontext import read_json, read_json_lines
from contender.data.mediarows import MediaRows
from contender.data.places import Found, Place, StorePlace
from contender.data.rowfile import RowWriter
from contender.data.source import ARRIVING, GONE, ReadOptions, checked, settled
from contender.data.streams import Hashed, gzip_errors, unpacked
from contender.errors import DataError
from contender.files import CHUNK
from contender.records import FileSet, SkippedFile, SourceFile
from contender.text import listed

DELIMITERS = ",\t;|"
EMPTY_FILES = "Its files have columns only, or are empty."


class Unfinished(Exception):
    """The file turned out to be half of one."""


def batches(
    stream: Any, form: Format, name: str, hashed: Hashed, options: ReadOptions, folder: Path, how: str = "fast"
) -> Iterator[pa.RecordBatch]:
    """The rows of a file. `stream`: its bytes, unpacked; `folder`: for a copy of what needs to be sought in; `how`: see ReadAgain."""
    if form.name in ("csv", "tsv"):
        delimiter = options.delimiter or ("\t" if form.name == "tsv" else ",")
        return read_delimited(stream, Dialect(delimiter, options.header, options.encoding, name), how)
    if form.name == "jsonl":
        return read_json_lines(stream, name)
    if form.name == "json":
        return read_json(stream, name)
    if form.name == "conll":
        return read_conll(stream, name)
    return _spooled(stream, form, name, hashed, folder)


def _spooled(stream: Any, form: Format, name: str, hashed: Hashed, folder: Path) -> Iterator[pa.RecordBatch]:
    """parquet and Arrow need to seek: from a copy, made in the read that hashes."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".spool-") as copy:
        shutil.copyfileobj(stream, copy, CHUNK)
        copy.flush()
        if reason := unfinished(form, hashed.head, hashed.tail, hashed.size):
            raise Unfinished(reason)
        read = read_parquet if form.name == "parquet" else read_arrow
        yield from read(Path(copy.name), name)


class Ingest:
    """One reading of a source."""

    def __init__(
        self,
        place: Place,
        options: ReadOptions,
        out: Path,
        required: tuple[str, ...],
        settle: float,
        on_rows: Callable[[int], None] | None,
    ) -> None:
        self._place = place
        self._options = options
        self._required = required
        self._settle = settle
        self._on_rows = on_rows
        self._writer = RowWriter(out)
        self._out = out
        self._folder = out.parent
        self._media: MediaRows | None = None
        self._chats = ChatRows(options.chat) if options.chat else None
        self._rows = 0  # of finished files
        self._first: tuple[str, list[str]] | None = None

    def run(self, source: str, peeked: FileSet) -> FileSet:
        listed = {found.path: found for found in self._place.list()[0]}
        files: list[SourceFile] = []
        skipped = list(peeked.skipped)
        ordered = self._ordered(peeked.files)
        try:
            with self._fetching([listed[file.path] for file in ordered if file.path in listed]):
                for file in ordered:
                    found = listed.get(file.path)
                    read = self._file(found) if found else SkippedFile(path=file.path, reason=GONE)
                    (files if isinstance(read, SourceFile) else skipped).append(read)  # type: ignore[arg-type]
            read_files = checked(source, files, skipped, peeked)
            self._writer.close()
            if self._media:
                self._media.close()
        except BaseException:
            self._writer.abandon()
            if self._media:
                self._media.abandon()
            raise
        if not self._rows:
            left_out = sum(file.left_out for file in files)
            why = f"All {left_out:,} say by their label that nobody wanted them." if left_out else EMPTY_FILES
            raise DataError(f"{source} holds no rows", why)
        columns = tuple(self._first[1]) if self._first else ()
        return read_files.model_copy(update={"columns": columns})

    def _ordered(self, files: Sequence[SourceFile]) -> Sequence[SourceFile]:
        """Of media: the tables last, since they name what is in the other files."""
        if not self._options.media:
            return files
        tables = {file.path for file in files if self._form(file.path).is_table}
        self._media = MediaRows(self._options.media, self._options.media_column, self._out, bool(tables))
        return sorted(files, key=lambda file: (file.path in tables, file.path))

    def _form(self, path: str) -> Format:
        form = format_of(path, self._options.media)
        assert form is not None
        return form

    @contextmanager
    def _fetching(self, order: Sequence[Found]) -> Iterator[None]:
        """Within it a store's objects are fetched ahead, in the order in which they will be read."""
        if not isinstance(self._place, StorePlace):
            yield
            return
        self._place = ahead = Ahead(self._place, order)
        try:
            yield
        finally:
            ahead.close()

    def _file(self, found: Found) -> SourceFile | SkippedFile:
        if not found.rested(time.time_ns(), self._settle):
            return SkippedFile(path=found.path, reason=ARRIVING)
        self._writer.begin(found.path)
        how = "fast"
        while True:
            try:
                outcome = settled(self._place, found, partial(self._read, how=how))
            except ReadAgain as request:
                how = request.how
                continue
            except Unfinished as reason:
                self._writer.take_back()
                return SkippedFile(path=found.path, reason=str(reason))
            break
        if isinstance(outcome, SkippedFile):
            self._writer.take_back()
            return outcome
        found, sha256 = outcome
        self._check_columns(found.path)
        self._rows += self._writer.rows
        rows, left_out = self._writer.rows, self._writer.left_out
        return SourceFile(path=found.path, size=found.size, sha256=sha256, rows=rows, left_out=left_out)

    def _read(self, stream: BinaryIO, found: Found, how: str) -> str:
        """The file's rows into the writer, and the sha256 of its bytes."""
        form = self._form(found.path)
        self._writer.take_back()  # of an attempt before
        hashed = Hashed(stream)
        with gzip_errors(found.path):
            unzipped = unpacked(hashed, form.gzipped)
            for read in self._batches(unzipped, form, found.path, hashed, how):
                batch, wanted = (read, None) if self._chats is None else self._chats.of_table(read, found.path)
                if not self._writer.file_columns and form.name not in ("jsonl", "json"):
                    self._check_required(batch.schema.names, found.path)
                self._writer.add(batch, wanted)
                if self._on_rows:
                    self._on_rows(self._rows + self._writer.rows)
        hashed.drain()
        return hashed.sha256

    def _batches(self, stream: Any, form: Format, path: str, hashed: Hashed, how: str) -> Iterator[pa.RecordBatch]:
        if self._media is None or form.is_table:
            read = batches(stream, form, path, hashed, self._options, self._folder, how)
            return read if self._media is None else (self._media.of_table(batch, path) for batch in read)
        if form.name == "media":
            return self._media.of_file(hashed, path)
        return self._media.of_archive(stream, form, path, hashed, self._folder)

    def _check_columns(self, file: str) -> None:
        """The finished file's columns: those that are required, and the same as in the files before."""
        names = [name for name in self._writer.file_columns if name != FAULT]
        if not names and not self._writer.rows:
            return  # a file without a header has no rows, and no say
        self._check_required(names, file)
        if self._first is None:
            self._first = (file, names)
            return
        first, expected = self._first
        if set(names) == set(expected):
            return
        missing, other = (listed(sorted(some)) for some in (set(expected) - set(names), set(names) - set(expected)))
        differences = "; ".join(filter(None, (missing and f"it lacks {missing}", other and f"only it has {other}")))
        raise DataError(
            f"{file} and {first} differ in their columns: {differences}",
            "Give all files the same columns, or name fewer files.",
        )

    def _check_required(self, names: Sequence[str], file: str) -> None:
        missing = [name for name in self._required if name not in names]
        if not missing:
            return
        raise DataError(
            f"{file} has no column {' and no column '.join(map(repr, missing))}; it has {listed(names, 20) or 'none'}",
            _other_delimiter(names, missing) or "Name the columns of the data in data.columns.",
        )


def _other_delimiter(names: Sequence[str], missing: Sequence[str]) -> str:
    """Advice, where the header cut another way has what is missing."""
    for delimiter in DELIMITERS:
        cut = [part.strip('" ') for name in names for part in name.split(delimiter)]
        if len(cut) > len(names) and set(missing) <= set(cut):
            return f"Set data.csv.delimiter: {delimiter!r}; then its columns are {listed(cut, 20)}."
    return ""
