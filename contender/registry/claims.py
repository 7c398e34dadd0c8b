"""What keeps the garbage collector and everybody who uses a release out of each other's way.

Whoever needs a release puts a claim beside it first, and looks for the collector's mark then. The collector puts its mark first,
and looks for claims, then for references, then. Whichever came second sees the other: a release that somebody relies on stays, and
nobody begins to rely on one that goes.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from contender.errors import AlreadyExists, BeingDeleted, ContenderError
from contender.records import Record
from contender.registry.layout import Layout, now, sealed
from contender.store import Store

CLAIM_SECONDS = 24 * 3600  # a claim older than this was left by a process that died
MARK_SECONDS = 3600  # a mark older than this was left by a collector that died; another one goes on


class Claim(Record):
    """Somebody is about to rely on the release."""

    writer: str
    why: str
    at: str


class Mark(Record):
    """A collector is about to delete the release."""

    writer: str
    at: str


class Claims:
    """The claims and marks of one pipeline's releases."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    @contextmanager
    def held(self, release: str, why: str) -> Iterator[None]:
        """Inside, no collector deletes the release. BeingDeleted where one has begun to."""
        writer = secrets.token_hex(16)
        key = f"{self._layout.claims(release)}{writer}.json"
        self._store.put(key, sealed(Claim(writer=writer, why=why, at=now())))
        try:
            if self.marked(release):
                raise BeingDeleted(
                    f"release {release} of {self._layout.pipeline} is being deleted",
                    "Try again in a minute. Where that repeats, a gc was killed: contender gc NAME --delete ends its work.",
                )
            yield
        finally:
            with suppress(ContenderError):  # left behind, it delays a gc by a day
                self._store.delete(key)

    def standing(self, release: str) -> bool:
        """Whether anybody holds a claim."""
        found = self._store.list(self._layout.claims(release))
        return any(time.time() - info.modified < CLAIM_SECONDS for info in found)

    def marked(self, release: str) -> bool:
        """Whether a collector deletes the release, or died over it; whatever its mark holds."""
        key = self._layout.mark(release)
        return any(info.key == key for info in self._store.list(key))

    def put_mark(self, release: str) -> bool:
        """Whether the release is this collector's to delete: nobody else's mark is on it, or a dead one's."""
        key = self._layout.mark(release)
        try:
            self._store.create(key, sealed(Mark(writer=secrets.token_hex(16), at=now())))
        except AlreadyExists:
            found = [info for info in self._store.list(key) if info.key == key]
            return any(time.time() - info.modified >= MARK_SECONDS for info in found)
        return True

    def remove_mark(self, release: str) -> None:
        self._store.delete(self._layout.mark(release))
