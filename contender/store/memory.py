"""The store for tests and for trying things out: in this process's memory, with faults on order.

store = MemoryStore()
store.fail("create", "lost_answer")     # the next create takes effect, and its answer is lost
store.fail("get", "unavailable", times=3)
store.fail("create", "late")            # the next create times out, and lands at store.land()
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import BinaryIO, ClassVar, Literal, TypeVar

from contender.errors import Missing, StoreUnavailable
from contender.files import sha256_file
from contender.records import sha256_hex
from contender.store.base import ObjectInfo, Unfinished, check_key, check_prefix, create_settled
from contender.store.fingerprints import Fingerprint

T = TypeVar("T")
Operation = Literal["get", "put", "create", "list", "delete"]
Fault = Literal["unavailable", "lost_answer", "late"]


@dataclass
class _Ordered:
    operation: Operation
    fault: Fault
    prefix: str
    left: int


@dataclass(frozen=True)
class _Object:
    data: bytes
    modified: float


class MemoryStore:
    """Objects in memory, shared by all stores of one `memory://name` in this process; nameless ones are on their own."""

    _named: ClassVar[dict[str, MemoryStore]] = {}

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.calls: list[tuple[Operation, str]] = []
        self._objects: dict[str, _Object] = {}
        self._ordered: list[_Ordered] = []
        self._late: list[Callable[[], object]] = []
        self._lock = RLock()

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        return cls._named.setdefault(name, cls(name))

    @property
    def url(self) -> str:
        return f"memory://{self.name}"

    def fail(self, operation: Operation, fault: Fault, times: int = 1, prefix: str = "") -> None:
        """Orders a fault for the next `times` operations on keys that start with `prefix`.

        unavailable: nothing happens, StoreUnavailable. lost_answer: it happens, and the answer is lost. late: the answer is a
        time-out now, and the write happens at `land()`. Opening, reading a part and uploading count as get, get and put.
        """
        with self._lock:
            self._ordered.append(_Ordered(operation, fault, prefix, times))

    def heal(self) -> None:
        """Takes back every fault that was ordered and did not happen yet."""
        with self._lock:
            self._ordered.clear()

    def land(self) -> int:
        """Lets the late writes land, in their order; how many there were."""
        with self._lock:
            late, self._late = self._late, []
            for write in late:
                write()
            return len(late)

    def corrupt(self, key: str, at: int = 0) -> None:
        """Flips one bit of the stored object, as a bad disk does."""
        with self._lock:
            found = self._objects[key]
            data = bytearray(found.data)
            data[at] ^= 1
            self._objects[key] = replace(found, data=bytes(data))

    def get(self, key: str) -> bytes:
        return self._happen("get", check_key(key), lambda: self._read(key))

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.get(key))

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        found = self.get(key)[start : start + len(buffer)]
        buffer[: len(found)] = found
        return len(found)

    def info(self, key: str) -> ObjectInfo:
        return self._happen("list", check_key(key), lambda: self._info(key))

    def put(self, key: str, data: bytes) -> None:
        self._happen("put", check_key(key), lambda: self._write(key, data))

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        data = path.read_bytes()
        self.put(key, data)
        if on_bytes:
            on_bytes(len(data))

    def fingerprint(self, path: Path) -> Fingerprint:
        found = sha256_file(path)
        return Fingerprint(found, found)

    def create(self, key: str, data: bytes) -> None:
        check_key(key)

        def act() -> bool:
            if key in self._objects:
                return False
            self._write(key, data)
            return True

        def read() -> bytes | None:
            try:
                return self.get(key)
            except Missing:
                return None

        create_settled(lambda: self._happen("create", key, act), read, data, f"{self.url}/{key}", pause=0.0)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        def found() -> list[ObjectInfo]:
            keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
            return [self._info(key) for key in keys]

        yield from self._happen("list", check_prefix(prefix), found)

    def delete(self, key: str) -> None:
        self._happen("delete", check_key(key), lambda: self._objects.pop(key, None))

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        return iter(())

    def abort(self, upload: Unfinished) -> None:
        return

    def _info(self, key: str) -> ObjectInfo:
        found = self._found(key)
        return ObjectInfo(key, len(found.data), sha256_hex(found.data), found.modified)

    def _write(self, key: str, data: bytes) -> None:
        self._objects[key] = _Object(bytes(data), time.time())

    def _read(self, key: str) -> bytes:
        return self._found(key).data

    def _found(self, key: str) -> _Object:
        try:
            return self._objects[key]
        except KeyError:
            raise Missing(f"{self.url}/{key} does not exist", f"See what {self.url} holds.") from None

    def _happen(self, operation: Operation, key: str, act: Callable[[], T]) -> T:
        with self._lock:
            self.calls.append((operation, key))
            fault = self._fault(operation, key)
            if fault == "late":
                self._late.append(act)
            if fault in ("unavailable", "late"):
                raise StoreUnavailable(f"{self.url} did not answer", "Try again.")
            result = act()
            if fault == "lost_answer":
                raise StoreUnavailable(f"the answer of {self.url} was lost", "Try again.")
            return result

    def _fault(self, operation: Operation, key: str) -> Fault | None:
        for order in self._ordered:
            if order.operation == operation and key.startswith(order.prefix):
                order.left -= 1
                if not order.left:
                    self._ordered.remove(order)
                return order.fault
        return None
