"""A store's small objects, fetched by several threads before they are asked for: most of reading one is waiting for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from contender.data.places import Found, Place
from contender.records import SkippedFile

READS = 16  # at a time
WINDOW = 48  # objects fetched and not yet asked for
SMALL = 1 << 20  # bytes; larger ones are streamed when their turn comes


class Ahead:
    """A place whose files are opened in a known order, once each; opening one again reads it again."""

    def __init__(self, place: Place, order: Sequence[Found]) -> None:
        self._place = place
        self._order = [found for found in order if found.size <= SMALL]
        self._next = 0
        self._waiting: dict[str, Future[tuple[bytes, Found | None]]] = {}
        self._looked: dict[str, Found | None] = {}
        self._pool = ThreadPoolExecutor(READS)

    @property
    def name(self) -> str:
        return self._place.name

    def list(self) -> tuple[list[Found], list[SkippedFile]]:
        return self._place.list()

    def look(self, path: str) -> Found | None:
        return self._looked.pop(path) if path in self._looked else self._place.look(path)

    def open(self, path: str) -> BinaryIO:
        self._fetch_ahead()
        fetched = self._waiting.pop(path, None)
        if fetched is None:
            return self._place.open(path)
        data, self._looked[path] = fetched.result()
        return io.BytesIO(data)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _fetch_ahead(self) -> None:
        while self._next < len(self._order) and len(self._waiting) < WINDOW:
            path = self._order[self._next].path
            self._waiting[path] = self._pool.submit(self._fetch, path)
            self._next += 1

    def _fetch(self, path: str) -> tuple[bytes, Found | None]:
        with self._place.open(path) as stream:
            data = stream.read(SMALL + 1)
            # An object that grew since it was listed is cut here, and the look that follows says that it changed.
        return data, self._place.look(path)
