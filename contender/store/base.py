"""What a store is, which keys it takes, and how a create whose answer was lost is settled."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from contender.errors import AlreadyExists, StoreUnavailable, UsageError
from contender.store.fingerprints import Fingerprint

KEY_BYTES = 900  # S3 takes 1,024 bytes with the prefix
PART_BYTES = 240  # local file systems take 255 for a name; a temporary one needs a little more
NO_KEY = re.compile(r"[\\\x00-\x1f\x7f]")  # a backslash, a control character


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing: `version` changes when its content does (ETag, or mtime and inode), size is in bytes.

    `modified`: seconds since the epoch, by the store's clock; S3 knows whole seconds.
    """

    key: str
    size: int
    version: str
    modified: float


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was begun and neither completed nor aborted: nobody sees it, and its parts take space.

    `started`: seconds since the epoch, by the store's clock.
    """

    key: str
    upload: str
    started: float


class Store(Protocol):
    """Objects under keys with forward slashes, relative to the store's URL.

    Every method raises StoreUnavailable where another attempt may succeed and StoreError where it would not; `get`, `open` raise
    Missing for an absent key. All methods may be called from several threads.
    """

    @property
    def url(self) -> str:
        """For people: where the store is, without credentials."""

    def get(self, key: str) -> bytes:
        """The whole object."""

    def open(self, key: str) -> BinaryIO:
        """The object as a stream, read in bounded memory; use it as a context manager."""

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fills the buffer with the object's bytes from `start` on; how many there were, fewer where it ends before."""

    def info(self, key: str) -> ObjectInfo:
        """What a listing says of the one object; Missing where it is absent."""

    def put(self, key: str, data: bytes) -> None:
        """Creates or replaces the object as a whole."""

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        """Creates or replaces the object from a file, in bounded memory; `on_bytes` gets the bytes sent since its last call."""

    def fingerprint(self, path: Path) -> Fingerprint:
        """What `info` says of the object where this file was uploaded and arrived as it is."""

    def create(self, key: str, data: bytes) -> None:
        """Creates the object only where none is; the one conditional primitive.

        `data` holds something unique to its writer, so that equal bytes found there are the writer's own (an earlier attempt whose
        answer was lost) and count as success. Raises AlreadyExists where other bytes are there, and StoreUnavailable where nobody
        can say: the write may still land, and calling again with the same bytes is safe.
        """

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix` and sorts behind `after`, in the order of the keys' UTF-8 bytes."""

    def delete(self, key: str) -> None:
        """Removes the object; removing what is not there is fine."""

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        """Uploads to keys that start with `prefix`, begun more than so many seconds ago. Only S3 has any."""

    def abort(self, upload: Unfinished) -> None:
        """Removes the parts of an upload, which then can no longer be completed; aborting what is not there is fine."""


class Below:
    """The part of a store below a folder of it, as a store."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._prefix = f"{folder}/"

    @property
    def url(self) -> str:
        return f"{self._store.url}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        return self._store.get(self._prefix + key)

    def open(self, key: str) -> BinaryIO:
        return self._store.open(self._prefix + key)

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        return self._store.read_into(self._prefix + key, start, buffer)

    def info(self, key: str) -> ObjectInfo:
        return replace(self._store.info(self._prefix + key), key=key)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(self._prefix + key, data)

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        self._store.upload(self._prefix + key, path, on_bytes)

    def fingerprint(self, path: Path) -> Fingerprint:
        return self._store.fingerprint(path)

    def create(self, key: str, data: bytes) -> None:
        self._store.create(self._prefix + key, data)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        for info in self._store.list(self._prefix + prefix, after=self._prefix + after if after else ""):
            yield replace(info, key=info.key.removeprefix(self._prefix))

    def delete(self, key: str) -> None:
        self._store.delete(self._prefix + key)

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        for upload in self._store.unfinished(self._prefix + prefix, older_than):
            yield replace(upload, key=upload.key.removeprefix(self._prefix))

    def abort(self, upload: Unfinished) -> None:
        self._store.abort(replace(upload, key=self._prefix + upload.key))


def check_key(key: str) -> str:
    """The key itself; UsageError where it could leave its store, or where not every store could hold it."""
    reason = key_fault(key)
    if reason:
        raise UsageError(
            f"{key[:100]!r} is no key of a store: {reason}",
            "Keys are relative paths with forward slashes: models/a.json",
        )
    return key


def key_fault(key: str) -> str:
    """Why `key` cannot name an object; empty where it can."""
    parts = key.split("/")
    if not all(parts):
        return "it is empty or has an empty part"
    if any(part in (".", "..") for part in parts):
        return "it has a part . or .."
    if NO_KEY.search(key):
        return "it holds a backslash or a control character"
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    if max(sizes) > PART_BYTES or len(key.encode()) > KEY_BYTES:
        return f"it is longer than {KEY_BYTES} bytes, or a part of it than {PART_BYTES}"
    return ""


def check_prefix(prefix: str) -> str:
    """The prefix of a listing itself; UsageError where it could leave its store."""
    if prefix.startswith("/") or "\\" in prefix or "\0" in prefix or ".." in prefix.split("/"):
        raise UsageError(
            f"{prefix[:100]!r} is no prefix of a store", "Prefixes are relative, without .. parts: models/"
        )
    return prefix


def create_settled(
    write: Callable[[], bool],
    read: Callable[[], bytes | None],
    data: bytes,
    name: str,
    attempts: int = 4,
    pause: float = 0.1,
) -> None:
    """Creates with an answer that may get lost, and says who won only after reading what is there.

    `write` tries once without retries of its own: True where the store confirmed, False where it refused because an object is
    there or a rival is writing one, StoreUnavailable where nobody knows. `read` gives what is there now, None for nothing. Nothing
    there means "not yet": a timed-out write can land later, so the same bytes are written again, never given up quietly.
    """
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2**attempt * random.uniform(0.5, 1.0))
        found: bytes | None = None
        try:
            if write():
                return
        except StoreUnavailable as error:
            trouble: StoreUnavailable | None = error
        else:
            trouble = None
        try:
            found = read()
        except StoreUnavailable as error:
            trouble = error
        if found == data:
            return
        if found is not None:
            raise AlreadyExists(f"{name} exists already, written by somebody else", "Read it to see whose it is.")
    raise StoreUnavailable(
        f"nobody can say whether {name} was written" + (f": {trouble.what}" if trouble else ""),
        "Try again with the same content: a write that landed after all is recognised.",
    ) from trouble
