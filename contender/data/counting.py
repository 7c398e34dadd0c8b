"""How many rows a file holds, without keeping them, and counts that were made before, by the content of the file.

Losing or damaging what is remembered costs time only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from contender.data.formats import Media, format_of
from contender.data.places import Found, Place
from contender.data.source import ReadOptions, settled
from contender.errors import DataError, SourceChanged, Unreadable
from contender.files import CHUNK, write_durably
from contender.records import SkippedFile, SourceFile, digest


def count_rows(
    place: Place, found: Found | None, file: SourceFile, options: ReadOptions, folder: Path, enough: int
) -> tuple[int | None, bool]:
    """Rows of the file, and whether that is all: reading ends where there are `enough`. None where they cannot be read.

    `found`: the file as it is listed now. Raises SourceChanged where it is another one than `file`, Unreadable where nobody may
    read it.
    """
    from contender.data.delimited import ReadAgain
    from contender.data.ingest import Unfinished

    how = "fast"
    while found is not None:
        try:
            outcome = settled(place, found, partial(_count, options=options, folder=folder, enough=enough, how=how))
        except ReadAgain as request:
            how = request.how
            continue
        except Unreadable:
            raise
        except (DataError, Unfinished):
            return None, True
        if isinstance(outcome, SkippedFile):
            break
        rows, sha256 = outcome[1]
        if sha256 not in (None, file.sha256):
            break
        return rows, sha256 is not None
    raise SourceChanged(f"{file.path} changed while its rows were counted", "Look again.")


def gives_no_rows(path: str, listed: Iterable[str], media: Media) -> bool:
    """Whether a file of a source of media is only what a table beside it names."""
    own = format_of(path, media)
    if own is None or own.is_table:
        return False
    return any(form.is_table for other in listed if (form := format_of(other, media)))


def begins_with(place: Place, found: Found | None, before: SourceFile) -> bool:
    """Whether the file begins with the bytes of what was there before: rows were added to it."""
    if found is None or found.size <= before.size:
        return False
    outcome = settled(place, found, partial(_hash_of, size=before.size))
    return not isinstance(outcome, SkippedFile) and outcome[1] == before.sha256


def _hash_of(stream: BinaryIO, found: Found, size: int) -> str:
    hasher = hashlib.sha256()
    while size and (data := stream.read(min(size, CHUNK))):
        hasher.update(data)
        size -= len(data)
    return hasher.hexdigest()


def _count(
    stream: BinaryIO, found: Found, options: ReadOptions, folder: Path, enough: int, how: str
) -> tuple[int, str | None]:
    """Rows, those that a snapshot leaves out excepted, and the sha256 of the bytes where all of them were read."""
    from contender.data.chatrows import wanted_in
    from contender.data.ingest import batches
    from contender.data.mediarows import members_in
    from contender.data.streams import Hashed, gzip_errors, unpacked

    form = format_of(found.path, options.media)
    assert form is not None
    hashed = Hashed(stream)
    if form.name == "media":
        hashed.drain()
        return 1, hashed.sha256
    rows = 0
    with gzip_errors(found.path):
        unzipped = unpacked(hashed, form.gzipped)
        if options.media and not form.is_table:
            rows = members_in(unzipped, form, found.path, hashed, options.media, folder)
            hashed.drain()
            return rows, hashed.sha256
        for batch in batches(unzipped, form, found.path, hashed, options, folder, how):
            wanted = wanted_in(batch) if options.chat else None
            rows += batch.num_rows if wanted is None else wanted.true_count
            if rows >= enough:
                return rows, None
    hashed.drain()
    return rows, hashed.sha256


class Counts:
    """What was found out about contents before. What was not asked for again is forgotten."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._options = digest(options.model_dump(mode="json"))
        self._known = self._load()
        self._now: dict[str, int | None] = {}

    def get(self, key: str) -> tuple[bool, int | None]:
        """Whether it is known, and what it is."""
        if key in self._known:
            self._now.setdefault(key, self._known[key])
        return key in self._now, self._now.get(key)

    def put(self, key: str, count: int | None) -> None:
        self._now[key] = count

    def save(self) -> None:
        """Best effort."""
        if self._now == self._known:
            return
        data = {"revision": 1, "options": self._options, "counts": self._now}
        with suppress(OSError, ValueError):  # ValueError: a NUL in the path
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, json.dumps(data, separators=(",", ":")).encode())

    def _load(self) -> Mapping[str, int | None]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            content: Any = json.loads(self._path.read_bytes())
            if (content["revision"], content["options"]) == (1, self._options):
                return {
                    str(key): count
                    for key, count in content["counts"].items()
                    if count is None or (type(count) is int and count >= 0)
                }
        return {}


def content_key(file: SourceFile) -> str:
    """Content and format: the same bytes hold other rows under another ending."""
    form = format_of(file.path)
    return f"{form.name if form else ''}{'.gz' if form and form.gzipped else ''}:{file.sha256}"
