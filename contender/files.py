"""Files as values: hashing, durable writes, and names that stay inside their folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from contender.records import FileEntry

CHUNK = 1 << 20  # bytes read at a time: enough to keep a disk busy, little enough to forget


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_files(folder: Path, leave_out: Collection[str] = ()) -> tuple[FileEntry, ...]:
    """Path, size and sha256 of every regular file below `folder`, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return tuple(
        FileEntry(path=name, size=path.stat().st_size, sha256=sha256_file(path))
        for path in paths
        if (name := path.relative_to(folder).as_posix()) not in leave_out
    )


def write_durably(path: Path, data: bytes) -> None:
    """Replaces `path` as a whole: a reader, also after a power cut, sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Makes a rename or a link in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def stays_inside(name: str) -> bool:
    """Whether a relative name, as a manifest or a key holds it, stays below its folder."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
