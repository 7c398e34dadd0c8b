"""Many files to and from a store at once, large ones in parts, each checked against its sha256."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from contender.errors import Damaged, DiskFull, Missing, UsageError
from contender.files import CHUNK
from contender.records import FileEntry
from contender.store import Fingerprint, Store

A = TypeVar("A")
B = TypeVar("B")
OnBytes = Callable[[int], None]

THREADS = 4  # files at once; the parts of a large one have threads of their own
PART = 8 << 20  # bytes of a large file that are read at once, and held in memory until those before them are hashed
PARTS_AT_ONCE = 8
AHEAD = 16  # parts that are begun before the first of them is done with: a slow one keeps no thread idle
ONE_LARGE = threading.Lock()  # a large file has enough threads of its own; a second one would double the memory


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


def chunks(
    store: Store, key: str, start: int, size: int, keep: Callable[[memoryview, int], object] | None = None
) -> Generator[memoryview, None, None]:
    """The object's bytes from `start` on, in order, each chunk valid until the next one; several parts are read at once.

    `size` is what the object should have: at most a byte more is read, which is enough to know, and cannot fill a disk. `keep` gets
    each part and where it begins, from the thread that read it: one may come before those in front of it, by AHEAD at most.
    """
    todo = deque(range(start, size + 1, PART))
    reading: deque[tuple[Future[int], memoryview]] = deque()

    def read(at: int, buffer: memoryview) -> int:
        count = store.read_into(key, at, buffer)
        if keep:
            keep(buffer[:count], at)
        return count

    alone = ONE_LARGE if len(todo) > 1 else nullcontext()
    with alone, ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="part") as pool:

        def read_next(buffer: memoryview) -> None:
            if todo:
                at = todo.popleft()
                reading.append((pool.submit(read, at, buffer[: size + 1 - at]), buffer))

        try:
            for at in list(islice(todo, AHEAD)):
                read_next(memoryview(bytearray(min(PART, size + 1 - at))))
            while reading:
                count, buffer = reading.popleft()
                yield buffer[: count.result()]
                read_next(buffer)
        finally:
            pool.shutdown(cancel_futures=True)


def stored_as(store: Store, key: str, size: int, on_bytes: OnBytes | None = None) -> tuple[int, str] | None:
    """Size and sha256 of the object as it is read back, up to a byte behind `size`; None where it is absent."""
    hasher, found = hashlib.sha256(), 0
    try:
        for chunk in chunks(store, key, 0, size):
            hasher.update(chunk)
            found += len(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    except Missing:
        return None
    return found, hasher.hexdigest()


def fault_of(store: Store, key: str, file: FileEntry, on_bytes: OnBytes | None = None) -> str:
    """What is wrong with the stored file; empty where it is whole. What differs is read twice: a bit may flip on the way, too."""
    found = stored_as(store, key, file.size, on_bytes)
    if found is not None and found != (file.size, file.sha256):
        found = stored_as(store, key, file.size)
    if found is None:
        return f"{file.path} is missing"
    if found[0] != file.size:
        return f"{file.path} has {found[0]} bytes instead of {file.size}"
    return "" if found[1] == file.sha256 else f"{file.path} has other content (sha256 {found[1][:16]}…)"


def send(
    store: Store,
    pairs: Sequence[tuple[str, Path, FileEntry]],
    there: dict[str, int],
    on_bytes: OnBytes | None,
    thorough: bool = False,
) -> None:
    """Uploads each (key, path, what it is) that is not in the store yet; afterwards the store is known to hold every one.

    Known by its own digest of what it received, where that can be computed here, and else by reading the file back. `there`: sizes
    of what a listing found. `thorough`: those are read back in any case. Raises Damaged where the store does not hold what was sent.
    """

    def one(pair: tuple[str, Path, FileEntry]) -> str:
        key, path, file = pair
        if there.get(key) == file.size:
            confirmed = not thorough and _confirmed(store, key, store.fingerprint(path), file)
            if confirmed or not fault_of(store, key, file):
                if on_bytes:
                    on_bytes(file.size)
                return ""
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
            fingerprint = beside.submit(store.fingerprint, path)
            store.upload(key, path, on_bytes)
            confirmed = _confirmed(store, key, fingerprint.result(), file)
        return "" if confirmed else fault_of(store, key, file)

    faults = [fault for fault in at_once(one, pairs) if fault]
    if faults:
        raise Damaged(
            f"{store.url} does not hold what was sent: {'; '.join(faults)}",
            "Run the same command again; where it repeats, files change while they are read, or the store loses bytes.",
        )


def _confirmed(store: Store, key: str, found: Fingerprint, file: FileEntry) -> bool:
    """Whether the store says itself that it holds these bytes; False also where only reading back can tell."""
    if not found.version or found.sha256 != file.sha256:
        return False
    try:
        info = store.info(key)
    except Missing:
        return False
    return (info.size, info.version) == (file.size, found.version)


def receive(store: Store, key: str, file: FileEntry, path: Path, on_bytes: OnBytes | None, again: bool = True) -> str:
    """Downloads one file durably; what is wrong with it, empty where it is whole.

    What an interrupted download left at `path` is the beginning of the file, and is not downloaded again. What differs is downloaded
    twice, where `again` allows it: a bit may have flipped on the way, or something else have written the beginning.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as target:
            _cut(target)
            found = _continued(store, key, file, target, on_bytes)
    except Missing:
        path.unlink(missing_ok=True)
        return f"{file.path} is missing"
    except OSError as error:
        raise local_error(error, path) from error
    if found == (file.size, file.sha256):
        return ""
    path.unlink(missing_ok=True)
    if again:
        if on_bytes:
            on_bytes(-found[0])
        return receive(store, key, file, path, on_bytes, again=False)
    return f"{file.path} has other content than its sha256 says"


def _cut(target: BinaryIO) -> None:
    """Cuts off the end of an interrupted download, where parts may be missing between others; what is left is its beginning."""
    target.truncate(max(0, target.seek(0, os.SEEK_END) - AHEAD * PART))
    target.seek(0)


def _continued(store: Store, key: str, file: FileEntry, target: BinaryIO, on_bytes: OnBytes | None) -> tuple[int, str]:
    """Writes what the target lacks of the file; its size and sha256 then."""
    hasher, size = hashlib.sha256(), 0
    while begun := target.read(CHUNK):
        hasher.update(begun)
        size += len(begun)
    if on_bytes and size:
        on_bytes(size)
    handle = target.fileno()
    with closing(chunks(store, key, size, file.size, lambda part, at: _write(handle, part, at))) as rest:
        for chunk in rest:
            hasher.update(chunk)
            size += len(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    os.fsync(handle)
    return size, hasher.hexdigest()


def _write(handle: int, data: memoryview, at: int) -> None:
    while data:
        count = os.pwrite(handle, data, at)
        data, at = data[count:], at + count


def local_error(error: OSError, path: Path) -> Exception:
    """What a fault of the local disk means to somebody who downloads."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {path}", "Free some space and run the same command: whole files are kept.")
    return UsageError(f"cannot write {path}: {error.strerror}", "Name a folder that you can write.")
