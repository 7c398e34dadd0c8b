"""Stores that do not keep two writers apart, as some that call themselves S3-compatible."""

from __future__ import annotations

from contender.errors import UnsafeStore
from contender.store import Below, MemoryStore


class Careless(Below):
    """Takes If-None-Match, and ignores it: a create is a put."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "careless")

    def create(self, key: str, data: bytes) -> None:
        self.put(key, data)


class Refusing(Careless):
    """Answers 501 to every create."""

    def create(self, key: str, data: bytes) -> None:
        raise UnsafeStore(f"the store refuses create-only writes (NotImplemented): {key}", "Use another store.")
