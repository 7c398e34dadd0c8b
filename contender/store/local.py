"""A folder as a store: whole files, durable before they are visible, create-only through link(2).

Files still being written are never listed and never a key; those that a killed process left go with the next write beside them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from contender.errors import AlreadyExists, Missing, StoreError, StoreUnavailable, UnsafeStore
from contender.files import CHUNK, TEMPORARY, fsync_folder, remove_abandoned, temporary_beside, unnamed_beside
from contender.store.base import ObjectInfo, Unfinished, check_key, check_prefix, key_fault
from contender.store.fingerprints import Fingerprint

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)


class LocalStore:
    """A folder; it is made by the first write. Links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._tidied: set[Path] = set()

    @property
    def url(self) -> str:
        return str(self.root)

    def get(self, key: str) -> bytes:
        with self.open(key) as stream, self._errors(key):
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        path = self._path(key)
        with self._errors(key):
            # Without O_NONBLOCK, opening a FIFO would wait for a writer that never comes.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise Missing(f"{self._name(key)} is no regular file", "Only regular files are objects of a folder.")
            return os.fdopen(handle, "rb")

    def read_into(self, key: str, start: int, buffer: memoryview) -> int:
        with self.open(key) as stream, self._errors(key):
            stream.seek(start)
            return stream.readinto(buffer)  # type: ignore[attr-defined,no-any-return]

    def info(self, key: str) -> ObjectInfo:
        with self.open(key) as stream, self._errors(key):
            return _info(key, os.fstat(stream.fileno()))

    def put(self, key: str, data: bytes) -> None:
        with self._errors(key):
            self._replace(key, lambda stream: stream.write(data))

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        def copy(stream: BinaryIO) -> None:
            while chunk := source.read(CHUNK):
                stream.write(chunk)
                if on_bytes:
                    on_bytes(len(chunk))

        with path.open("rb") as source, self._errors(key):
            self._replace(key, copy)

    def fingerprint(self, path: Path) -> Fingerprint:
        return Fingerprint("", "")  # a file system keeps no digests: only reading back can tell

    def create(self, key: str, data: bytes) -> None:
        with self._errors(key):
            path = self._place(key)
            with unnamed_beside(path) as (stream, name):
                stream.write(data)
                _flush(stream)
                try:
                    name(path)
                except FileExistsError:
                    if self.get(key) != data:
                        raise AlreadyExists(
                            f"{self._name(key)} exists already, written by somebody else", "Read it to see whose it is."
                        ) from None
            fsync_folder(path.parent)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._errors(prefix):
            yield from self._walk("", prefix, after)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._errors(key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            fsync_folder(path.parent)

    def unfinished(self, prefix: str = "", older_than: float = 0.0) -> Iterator[Unfinished]:
        return iter(())  # what killed processes left goes with the next write beside it

    def abort(self, upload: Unfinished) -> None:
        return

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` ("" or ending in a slash), in the order of their keys.

        A folder sorts as its name with a slash: `a.b` comes before `a/b`, as on S3.
        """
        try:
            with os.scandir(self.root / folder) as entries:
                named = ((folder + e.name + ("/" if e.is_dir(follow_symlinks=False) else ""), e) for e in entries)
                # Most of a long folder sorts before `after`: it is left out first.
                found = [(key, entry) for key, entry in named if _may_hold(key, prefix, after)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for key, entry in sorted(found, key=lambda pair: pair[0]):
            if entry.name.startswith(TEMPORARY) or key_fault(key.removesuffix("/")):
                continue
            if key.endswith("/"):
                yield from self._walk(key, prefix, after)
            elif entry.is_file(follow_symlinks=False):
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted since the folder was read
                yield _info(key, info)

    def _replace(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._place(key)
        with temporary_beside(path) as (temporary, stream):
            fill(stream)
            _flush(stream)
            temporary.replace(path)
        fsync_folder(path.parent)

    def _place(self, key: str) -> Path:
        """The key's path in a folder that is there, cleared of what killed processes left."""
        path = self._path(key, making_folders=True)
        if path.parent not in self._tidied:  # once is enough, and a folder can be long
            self._tidied.add(path.parent)
            remove_abandoned(path.parent)
        return path

    def _path(self, key: str, making_folders: bool = False) -> Path:
        """Where the key lies; StoreError where a link leads out of the root."""
        path = self.root / check_key(key)
        if path.name.startswith(TEMPORARY):
            raise Missing(f"{self._name(key)} is a file still being written", f"Keys do not start with {TEMPORARY}")
        if making_folders:
            with self._errors(key):
                self._make_folders(path.parent)
        with self._errors(key):
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise StoreError(f"{self._name(key)} leads out of its folder through a link", "Remove the link.")
        return path

    def _make_folders(self, folder: Path) -> None:
        try:
            make_folders(folder)
        except FileNotFoundError as error:  # below /proc, for one; "no such object" would say something else
            raise StoreError(
                f"{self.url} cannot be written: {error.filename} cannot be made", "Choose a folder elsewhere."
            ) from error

    def _name(self, key: str) -> str:
        return f"{self.root / key}"

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._translated(error, key) from error

    def _translated(self, error: OSError, key: str) -> Exception:
        where, why = self._name(key), error.strerror or str(error)
        if error.errno == errno.ENOENT:
            return Missing(f"{where} does not exist", f"See what {self.url} holds.")
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
            return StoreError(f"{where} cannot be used: a file stands where a folder is needed", "Move that file away.")
        if error.errno == errno.EISDIR:
            return StoreError(f"{where} cannot be written: a folder stands there", "Move that folder away.")
        if error.errno in NO_SPACE:
            return StoreError(f"no space left for {where}", "Free some space and run the same command.")
        if error.errno in NO_RIGHTS:
            return StoreError(f"{where} is not accessible: {why}", f"Allow this user to read and write {self.url}.")
        if error.errno in (errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            return UnsafeStore(
                f"{where} lies on a file system without hard links",
                "Use a folder on another file system, or an S3 store.",
            )
        return StoreUnavailable(f"{where} could not be used: {why}", "Try again; where it lasts, check the disk.")


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def make_folders(folder: Path) -> None:
    """`folder` and its parents, each durable in its parent."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def _may_hold(key: str, prefix: str, after: str) -> bool:
    """Whether the object `key`, or one below the folder `key`, can be in the listing."""
    if key.endswith("/"):
        return (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key))
    return key.startswith(prefix) and key > after


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    version = f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"
    return ObjectInfo(key, found.st_size, version, found.st_mtime)
