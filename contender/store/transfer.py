"""Many files to and from a store at once, each checked against its sha256."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from contender.errors import Damaged, DiskFull, Missing, UsageError
from contender.files import CHUNK
from contender.records import FileEntry
from contender.store import Store

A = TypeVar("A")
B = TypeVar("B")
OnBytes = Callable[[int], None]

THREADS = 4  # a large file is sent in parts by threads of its own; more only helps many small ones


def at_once(act: Callable[[A], B], items: Iterable[A], threads: int = THREADS) -> list[B]:
    """`act` of every item, in order. The first error ends it: what has not begun is not begun."""
    todo = list(items)
    if len(todo) < 2:
        return [act(item) for item in todo]
    with ThreadPoolExecutor(min(threads, len(todo)), thread_name_prefix="transfer") as pool:
        futures = [pool.submit(act, item) for item in todo]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def stored_as(store: Store, key: str, on_bytes: OnBytes | None = None) -> tuple[int, str] | None:
    """Size and sha256 of the object as it is read back; None where it is absent."""
    hasher, size = hashlib.sha256(), 0
    try:
        with store.open(key) as stream:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                size += len(chunk)
                if on_bytes:
                    on_bytes(len(chunk))
    except Missing:
        return None
    return size, hasher.hexdigest()


def fault_of(store: Store, key: str, file: FileEntry, on_bytes: OnBytes | None = None) -> str:
    """What is wrong with the stored file; empty where it is whole. What differs is read twice: a bit may flip on the way, too."""
    found = stored_as(store, key, on_bytes)
    if found is not None and found != (file.size, file.sha256):
        found = stored_as(store, key)
    if found is None:
        return f"{file.path} is missing"
    if found[0] != file.size:
        return f"{file.path} has {found[0]} bytes instead of {file.size}"
    return "" if found[1] == file.sha256 else f"{file.path} has other content (sha256 {found[1][:16]}…)"


def send(
    store: Store, pairs: Sequence[tuple[str, Path, FileEntry]], there: dict[str, int], on_bytes: OnBytes | None
) -> None:
    """Uploads each (key, path, what it is) that is not in the store yet, and reads everything back.

    `there`: sizes of what a listing found. Raises Damaged where the store does not hold what was sent.
    """

    def one(pair: tuple[str, Path, FileEntry]) -> str:
        key, path, file = pair
        if there.get(key) == file.size and not fault_of(store, key, file):
            if on_bytes:
                on_bytes(file.size)
            return ""
        store.upload(key, path, on_bytes)
        return fault_of(store, key, file)

    faults = [fault for fault in at_once(one, pairs) if fault]
    if faults:
        raise Damaged(
            f"{store.url} does not hold what was sent: {'; '.join(faults)}",
            "Run the same command again; where it repeats, files change while they are read, or the store loses bytes.",
        )


def receive(store: Store, key: str, file: FileEntry, path: Path, on_bytes: OnBytes | None) -> str:
    """Downloads one file durably; what is wrong with it, empty where it is whole."""
    hasher, size = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with store.open(key) as source, path.open("wb") as target:
            # A byte more than promised is enough to know: an object that grew cannot fill the disk.
            while size <= file.size and (chunk := source.read(CHUNK)):
                hasher.update(chunk)
                size += len(chunk)
                target.write(chunk)
                if on_bytes:
                    on_bytes(len(chunk))
            target.flush()
            os.fsync(target.fileno())
    except Missing:
        return f"{file.path} is missing"
    except OSError as error:
        raise local_error(error, path) from error
    if (size, hasher.hexdigest()) == (file.size, file.sha256):
        return ""
    path.unlink(missing_ok=True)
    return f"{file.path} has other content than its sha256 says"


def local_error(error: OSError, path: Path) -> Exception:
    """What a fault of the local disk means to somebody who downloads."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {path}", "Free some space and run the same command: whole files are kept.")
    return UsageError(f"cannot write {path}: {error.strerror}", "Name a folder that you can write.")
