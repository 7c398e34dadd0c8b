"""Files as values: hashing, durable writes, and names that stay inside their folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from contender.records import FileEntry

CHUNK = 1 << 20  # bytes read at a time: enough to keep a disk busy, little enough to forget
TEMPORARY = ".contender-"  # begins the names of files still being written
DESCRIPTORS = "/proc/self/fd"
ABANDONED = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{16}")


def sha256_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    return hasher.hexdigest()


def describe_files(
    folder: Path, leave_out: Collection[str] = (), on_bytes: Callable[[int], None] | None = None
) -> tuple[FileEntry, ...]:
    """Path, size and sha256 of every regular file below `folder`, sorted by path; `on_bytes` gets bytes as they are read."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return tuple(
        FileEntry(path=name, size=path.stat().st_size, sha256=sha256_file(path, on_bytes))
        for path in paths
        if (name := path.relative_to(folder).as_posix()) not in leave_out
    )


def irregular_files(folder: Path) -> list[str]:
    """Links, pipes and the like below `folder`, which `describe_files` leaves out, sorted; a link is not followed."""
    odd = (path for path in folder.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir()))
    return sorted(path.relative_to(folder).as_posix() for path in odd)


def write_durably(path: Path, data: bytes) -> None:
    """Replaces `path` as a whole: a reader, also after a power cut, sees the old bytes or the new ones."""
    remove_abandoned(path.parent)
    with temporary_beside(path) as (temporary, stream):
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
        temporary.replace(path)
    fsync_folder(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the folder of `path`, to be filled and then moved or linked to its name, before the body ends.

    It is locked until then, which tells it from one that a killed process left.
    """
    temporary, stream = _new_temporary(path.parent)
    try:
        with stream:
            yield temporary, stream
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def unnamed_beside(path: Path) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
    """A new file without a name, and what gives it one, create-only: a process that is killed leaves nothing of it.

    Where the file system has no such files, it is a temporary one.
    """
    handle = _unnamed(path.parent)
    if handle is None:
        with temporary_beside(path) as (temporary, stream):
            yield stream, partial(os.link, temporary)
        return
    with os.fdopen(handle, "wb") as stream:
        # Without `src_dir_fd`, which an absolute path has no use for, Python calls link(2), which names the link in /proc.
        yield stream, lambda name: os.link(f"{DESCRIPTORS}/{handle}", name, src_dir_fd=handle, follow_symlinks=True)


def _unnamed(folder: Path) -> int | None:
    if not (hasattr(os, "O_TMPFILE") and is_folder(Path(DESCRIPTORS))):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError:
        return None  # whatever else is wrong with the folder shows where a file with a name is tried


def _new_temporary(folder: Path) -> tuple[Path, BinaryIO]:
    while True:
        temporary = folder / (TEMPORARY + secrets.token_hex(8))
        stream = temporary.open("xb")
        with suppress(OSError):  # a file system without locks: there `remove_abandoned` leaves everything alone
            fcntl.flock(stream, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, stream
        stream.close()  # somebody took it for abandoned before it was locked


def remove_abandoned(folder: Path) -> None:
    """Removes the temporary files in `folder` that nobody fills any more: their process was killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for left in [entry.path for entry in entries if ABANDONED.fullmatch(entry.name)]:
            with suppress(OSError):  # BlockingIOError where it is being filled
                handle = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(left)  # noqa: PTH108 - a string, of many
                finally:
                    os.close(handle)


def fsync_folder(folder: Path) -> None:
    """Makes a rename or a link in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def filling(folder: Path, on_wait: Callable[[], None] | None = None) -> Iterator[Path]:
    """A folder beside `folder` that one thread or process at a time fills, to `put_in_place` then; others wait, telling `on_wait`.

    It still holds what a killed process left in it. The lock is on the folder itself, so that nothing else has to lie there:
    whoever waited for it while its holder moved or removed it begins anew with another.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    handle = None
    while handle is None:
        handle = _locked(partial, on_wait)
    try:
        yield partial
    finally:
        os.close(handle)


def _locked(folder: Path, on_wait: Callable[[], None] | None) -> int | None:
    """A handle that holds the lock of the folder, which is made where it is not there; None where it went away meanwhile."""
    with suppress(FileExistsError):
        os.mkdir(folder)  # noqa: PTH102 - Path.mkdir(exist_ok=True) looks twice, and fails where the folder goes in between
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        _lock(handle, on_wait)
        with suppress(FileNotFoundError):
            if folder.stat().st_ino == os.fstat(handle).st_ino:
                handle, held = -1, handle
                return held
        return None
    finally:
        if handle >= 0:
            os.close(handle)


def _lock(handle: int, on_wait: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait:
            on_wait()
        fcntl.flock(handle, fcntl.LOCK_EX)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes, in place of what stood there; a copy where the file system has no such thing."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def empty_folder(folder: Path) -> None:
    """Removes all that is in it, such as what a killed process left."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_in_place(partial: Path, folder: Path) -> None:
    """Moves a filled folder to its name; what stood there goes away behind it."""
    fsync_folder(partial)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)  # left by a process that died right here
    with suppress(FileNotFoundError):
        folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        with suppress(OSError):
            old.rename(folder)
        raise
    fsync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def file_url_path(url: str) -> str:
    """The path that a file:// URL names, `*` and `?` of a glob included. ValueError where it names another host, or no path."""
    host, slash, rest = url.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not slash:
        raise ValueError("must be file:///folder, with three slashes, or the folder's path")
    return unquote(f"/{rest}")


def expanded(path: str) -> str:
    """`~` as the home folder; `~unknown`, which pathlib refuses, may be a folder's own name."""
    return os.path.expanduser(path)  # noqa: PTH111


def is_file(path: Path) -> bool:
    """Whether a regular file lies there; False, and no error as of pathlib, for a name that no file can have."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def stays_inside(name: str) -> bool:
    """Whether a relative name, as a manifest or a key holds it, stays below its folder."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
