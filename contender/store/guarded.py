"""A store for one writer: create-only where the store itself has none, as long as nothing else writes at the same time.

`promote.single_writer: true` promises that. Two writers at once could both find nothing and both write; a write that timed out and
lands minutes later could replace what another wrote meanwhile. On a store that does have create-only both stay impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from contender.errors import Missing, UnsafeStore
from contender.store.base import ObjectInfo, Store, Unfinished, create_settled
from contender.store.fingerprints import Fingerprint


class SingleWriter:
    """The same store, with a create that reads, writes and reads back."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def url(self) -> str:
        return self.store.url

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def open(self, key: str) -> BinaryIO:
        return self.store.open(key)

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        return self.store.read_into(key, start, buffer)

    def info(self, key: str) -> ObjectInfo:
        return self.store.info(key)

    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        self.store.upload(key, path, on_bytes)

    def fingerprint(self, path: Path) -> Fingerprint:
        return self.store.fingerprint(path)

    def create(self, key: str, data: bytes) -> None:
        """What is read back decides who won, whatever the store said; it writes conditionally where the store takes that."""

        def write() -> bool:
            if self._read(key) is None:
                try:
                    self.store.create(key, data)
                except UnsafeStore:
                    self.store.put(key, data)
            return False

        create_settled(write, lambda: self._read(key), data, f"{self.url}/{key}")

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return self.store.list(prefix, after)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        return self.store.unfinished(prefix, older_than)

    def abort(self, upload: Unfinished) -> None:
        self.store.abort(upload)

    def _read(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except Missing:
            return None


def single_writer(store: Store) -> SingleWriter:
    """The store for one writer; as it is where it is that already."""
    return store if isinstance(store, SingleWriter) else SingleWriter(store)


def itself(store: Store) -> Store:
    """The store without what was put around it for one writer."""
    return store.store if isinstance(store, SingleWriter) else store
