"""The snapshot: what a source holds now (`peek`), and its rows in one row file (`ingest`).

    place.list ─▶ peek: digest of every file, unread ones from memory ─▶ FileSet
                     ingest: each file read once, hashed as it is parsed ─▶ row file, FileSet with rows and columns

`peek` decides whether a run has anything to do, so it imports nothing heavy and reads only what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from contender.data.formats import format_of, unfinished
from contender.data.places import Found, Place, StorePlace, locate
from contender.data.remembered import Digests
from contender.data.streams import Hashed
from contender.errors import DataError, Missing, SourceChanged
from contender.records import FileSet, Record, SkippedFile, SourceFile

if TYPE_CHECKING:
    import datasets

T = TypeVar("T")

ATTEMPTS = 2
CHANGED = "changed while it was read, twice"
GONE = "gone before it was read"
EMPTY = "empty"


class ReadOptions(Record):
    """How csv and tsv files are written; the other formats say it themselves.

    `delimiter`: one character, by default a comma, and a tab for .tsv. `header`: False where the first line is data, or the
    columns' names. `encoding`: a Python codec; a byte order mark in a file wins.
    """

    delimiter: str | None = None
    header: bool | tuple[str, ...] = True
    encoding: str = "utf-8"


def peek(
    source: str, options: ReadOptions, *, base: Path, profile: str | None = None, cache: Path | None = None
) -> FileSet:
    """The source's files with their digests, rows not counted yet, and what is left out and why.

    `cache` remembers digests: files that did not change are not read. Raises UsageError where the source does not exist or
    matches nothing, DataError where there are files and none can be used.
    """
    place = locate(source, base, profile)
    found, skipped = place.list()
    digests = Digests(cache, place.name)
    files: list[SourceFile] = []
    for outcome in _each(lambda file: _digest(place, file, digests), found, place):
        (files if isinstance(outcome, SourceFile) else skipped).append(outcome)
    digests.save()
    return checked(source, files, skipped)


def ingest(
    source: str,
    peeked: FileSet,
    options: ReadOptions,
    out: Path,
    *,
    base: Path,
    required: Sequence[str],
    profile: str | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> FileSet:
    """Reads the files that `peek` found, once, into the row file `out`; returns what was read, with rows and columns.

    The row file holds the columns of the data, `_file` and `_row` (int64, from 1 in each file); cells of csv are text, values of
    the other formats keep their types where all files agree, else they are text. Faulty rows hold nulls, and the column `_fault`
    says why. `on_rows` gets the rows read so far. Raises DataError where there are no rows, where a column in `required` is
    missing, or where files differ in their columns.
    """
    from contender.data.ingest import Ingest

    place = locate(source, base, profile)
    return Ingest(place, options, out, tuple(required), on_rows).run(source, peeked)


def open_rows(path: Path) -> datasets.Dataset:
    """The rows of a row file, memory-mapped."""
    from contender.data.rowfile import open_rows as opened

    return opened(path)


def settled(place: Place, found: Found, use: Callable[[BinaryIO, Found], T]) -> tuple[Found, T] | SkippedFile:
    """What `use` makes of the file's bytes, if the file was the same before and after; with one retry.

    An error of `use` counts only where the file did not change meanwhile: half a file is expected to look broken.
    """
    listed = found.path
    for _ in range(ATTEMPTS):
        failure: DataError | None = None
        try:
            with place.open(listed) as stream:
                result = use(stream, found)
        except (FileNotFoundError, Missing):
            return SkippedFile(path=listed, reason=GONE)
        except DataError as error:
            failure = error
        now = place.look(listed)
        if now == found:
            if failure:
                raise failure
            return found, result
        if now is None:
            return SkippedFile(path=listed, reason=GONE)
        found = now
    return SkippedFile(path=listed, reason=CHANGED)


def _digest(place: Place, found: Found, digests: Digests) -> SourceFile | SkippedFile:
    if not found.size:
        return SkippedFile(path=found.path, reason=EMPTY)
    known = digests.get(found)
    if known is None:
        outcome = settled(place, found, lambda stream, _: _hash(stream, found.path))
        if isinstance(outcome, SkippedFile):
            return outcome
        found, known = outcome
        digests.put(found, *known)
    sha256, reason = known
    if reason:
        return SkippedFile(path=found.path, reason=reason)
    return SourceFile(path=found.path, size=found.size, sha256=sha256)


def _hash(stream: BinaryIO, path: str) -> tuple[str, str | None]:
    hashed = Hashed(stream)
    hashed.drain()
    form = format_of(path)
    assert form is not None
    return hashed.sha256, unfinished(form, hashed.head, hashed.tail, hashed.size)


def _each(work: Callable[[Found], Any], found: Sequence[Found], place: Place) -> list[Any]:
    if not isinstance(place, StorePlace) or len(found) < 2:
        return [work(file) for file in found]
    from concurrent.futures import ThreadPoolExecutor

    from contender.data.ahead import READS

    with ThreadPoolExecutor(READS) as pool:
        return list(pool.map(work, found))


def checked(
    source: str, files: Sequence[SourceFile], skipped: Sequence[SkippedFile], peeked: FileSet | None = None
) -> FileSet:
    """The files as a set. Where none is left: SourceChanged if `peeked` saw some a moment ago, else DataError."""
    found = FileSet(files=tuple(files), skipped=tuple(sorted(skipped, key=lambda file: file.path)))
    if found.files:
        return found
    listed = "; ".join(f"{file.path}: {file.reason}" for file in found.skipped[:5])
    more = f" and {len(found.skipped) - 5:,} more" if len(found.skipped) > 5 else ""
    if peeked is not None and {file.reason for file in found.skipped} & {GONE, CHANGED}:
        raise SourceChanged(f"{source} changed while it was read: {listed}{more}", "Run the same command again.")
    raise DataError(f"{source} holds no file to read: {listed}{more}", "Name files with rows.")
