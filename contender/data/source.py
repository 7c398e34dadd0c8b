"""The snapshot: what a source holds now (`peek`), and its rows in one row file (`ingest`).

    place.list ─▶ peek: digest of every file, unread ones from memory ─▶ FileSet
                     ingest: each file read once, hashed as it is parsed ─▶ row file, FileSet with rows and columns

`peek` decides whether a run has anything to do, so it imports nothing heavy and reads only what changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from contender.data.formats import Media, format_of, unfinished
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
ARRIVING = "changed a moment ago: left to a later look"


class ReadOptions(Record):
    """How csv and tsv files are written; the other formats say it themselves.

    `delimiter`: one character, by default a comma, and a tab for .tsv. `header`: False where the first line is data, or the
    columns' names. `encoding`: a Python codec; a byte order mark in a file wins. `media`: the source holds pictures or sounds, and
    `media_column` is that of their role. `chat`: it holds conversations, in the columns that the role or its parts map to.
    """

    delimiter: str | None = None
    header: bool | tuple[str, ...] = True
    encoding: str = "utf-8"
    media: Media | None = None
    media_column: str = ""
    chat: dict[str, str] = {}


@dataclass(frozen=True)
class Glance:
    """A source's files with their digests, maybe none, and what is left out; `times`: path → when it changed, ns since 1970."""

    files: FileSet
    times: dict[str, tuple[int, ...]]

    @property
    def arriving(self) -> tuple[str, ...]:
        """Files that changed a moment ago."""
        return tuple(file.path for file in self.files.skipped if file.reason == ARRIVING)


def peek(
    source: str,
    options: ReadOptions,
    *,
    base: Path,
    profile: str | None = None,
    cache: Path | None = None,
    settle: float = 0.0,
) -> FileSet:
    """The source's files with their digests, rows not counted yet, and what is left out and why.

    `cache` remembers digests: files that did not change are not read. `settle`: files that changed less than so many seconds ago are
    left out. Raises UsageError where the source does not exist or matches nothing, SourceChanged where every file has yet to
    settle, DataError where there are files and none can be used.
    """
    seen = glance(source, base=base, profile=profile, cache=cache, settle=settle, media=options.media).files
    return checked(source, seen.files, seen.skipped)


def glance(
    source: str,
    *,
    base: Path,
    profile: str | None = None,
    cache: Path | None = None,
    settle: float = 0.0,
    media: Media | None = None,
) -> Glance:
    """What `peek` sees, also where no file can be used."""
    place = locate(source, base, profile, media)
    found, skipped = place.list()
    digests = Digests(cache, place.name)
    files: list[SourceFile] = []

    def digest(file: Found) -> SourceFile | SkippedFile:
        return _digest(place, file, digests, lambda found: found.rested(time.time_ns(), settle), media)

    for outcome in _each(digest, found, place):
        (files if isinstance(outcome, SourceFile) else skipped).append(outcome)
    digests.save()
    return Glance(file_set(files, skipped), {file.path: file.times for file in found})


def ingest(
    source: str,
    peeked: FileSet,
    options: ReadOptions,
    out: Path,
    *,
    base: Path,
    required: Sequence[str],
    profile: str | None = None,
    settle: float = 0.0,
    on_rows: Callable[[int], None] | None = None,
) -> FileSet:
    """Reads the files that `peek` found, once, into the row file `out`; returns what was read, with rows and columns.

    The row file holds the columns of the data, `_file` and `_row` (int64, from 1 in each file); cells of csv are text, values of
    the other formats keep their types where all files agree, else they are text. Faulty rows hold nulls, and the column `_fault`
    says why. Of media, contender/data/mediarows.py says what the row file holds, and contender/data/media.py what lies beside it; of
    conversations, contender/data/chatrows.py.
    `settle` as in `peek`; `on_rows` gets the rows read so far. Raises DataError where there are no rows, where a column
    in `required` is missing, or where files differ in their columns.
    """
    from contender.data.ingest import Ingest

    place = locate(source, base, profile, options.media)
    return Ingest(place, options, out, tuple(required), settle, on_rows).run(source, peeked)


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


def _digest(
    place: Place, found: Found, digests: Digests, rested: Callable[[Found], bool], media: Media | None
) -> SourceFile | SkippedFile:
    if not rested(found):
        return SkippedFile(path=found.path, reason=ARRIVING)
    if not found.size:
        return SkippedFile(path=found.path, reason=EMPTY)
    known = digests.get(found)
    if known is None:
        outcome = settled(place, found, lambda stream, _: _hash(stream, found.path, media))
        if isinstance(outcome, SkippedFile):
            return outcome
        found, known = outcome
        digests.put(found, *known)
        if not rested(found):
            return SkippedFile(path=found.path, reason=ARRIVING)
    sha256, reason = known
    if reason:
        return SkippedFile(path=found.path, reason=reason)
    return SourceFile(path=found.path, size=found.size, sha256=sha256)


def _hash(stream: BinaryIO, path: str, media: Media | None) -> tuple[str, str | None]:
    hashed = Hashed(stream)
    hashed.drain()
    form = format_of(path, media)
    assert form is not None
    return hashed.sha256, unfinished(form, hashed.head, hashed.tail, hashed.size)


def _each(work: Callable[[Found], Any], found: Sequence[Found], place: Place) -> list[Any]:
    if not isinstance(place, StorePlace) or len(found) < 2:
        return [work(file) for file in found]
    from concurrent.futures import ThreadPoolExecutor

    from contender.data.ahead import READS

    with ThreadPoolExecutor(READS) as pool:
        return list(pool.map(work, found))


def file_set(files: Sequence[SourceFile], skipped: Sequence[SkippedFile]) -> FileSet:
    return FileSet(files=tuple(files), skipped=tuple(sorted(skipped, key=lambda file: file.path)))


def checked(
    source: str, files: Sequence[SourceFile], skipped: Sequence[SkippedFile], peeked: FileSet | None = None
) -> FileSet:
    """The files as a set. Where none is left: SourceChanged if a moment's wait may bring some, else DataError.

    `peeked`: what was seen a moment ago.
    """
    found = file_set(files, skipped)
    if found.files:
        return found
    listed = "; ".join(f"{file.path}: {file.reason}" for file in found.skipped[:5])
    more = f" and {len(found.skipped) - 5:,} more" if len(found.skipped) > 5 else ""
    reasons = {file.reason for file in found.skipped}
    if ARRIVING in reasons or (peeked is not None and reasons & {GONE, CHANGED}):
        what = "has files that only just arrived" if peeked is None else "changed while it was read"
        raise SourceChanged(f"{source} {what}: {listed}{more}", "Run the same command again.")
    raise DataError(f"{source} holds no file to read: {listed}{more}", "Name files with rows.")
