"""zip and tar archives, read member by member: nothing is ever unpacked into a folder, so a name decides about nothing but a label.

the whole archive is refused   DataError   no archive, damaged or shortened; more members than MEMBERS; a bomb: more than BOMB_BYTES
                                           that are more than BOMB_RATIO times the archive's own size
the member is set apart        `fault`     an absolute name, `..` in it, a name twice; a link or a device; encrypted; compressed in a
                                           way that is not read; larger than MEMBER_BYTES; bytes that fail their checksum
the member is passed over      nothing     folders, and what `wanted` does not want
"""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from contender.errors import DataError
from contender.text import shorten

MEMBERS = 1_000_000
MEMBER_BYTES = 256 << 20  # a member is in memory while it is looked at
BOMB_BYTES, BOMB_RATIO = 1 << 30, 200  # deflate shrinks by 1,032 at most; pictures and sounds hardly at all
HEADER_BYTES = 1 << 20  # of a tar's extended header, which tarfile reads into memory whole

AGAIN = "Write or copy the archive again."
SPLIT = "Put fewer files into one archive, or unpack it into a folder."
_DRIVE = re.compile(r"^[A-Za-z]:")
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError),
)


@dataclass(frozen=True)
class Member:
    """A file of an archive: its bytes, or why they are not read. `number` counts the archive's entries from 1."""

    name: str
    number: int
    data: bytes = b""
    fault: str | None = None


Wanted = Callable[[str], bool]


def zip_members(path: Path, name: str, wanted: Wanted) -> Iterator[Member]:
    """The wanted members of a zip file, in the order of its directory; `name` is what messages call it."""
    try:
        archive = zipfile.ZipFile(path)
    except (*_UNREADABLE, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as a zip archive: {_said(error)}", AGAIN) from error
    with archive:
        entries = archive.infolist()
        _check_count(len(entries), name)
        _check_size(sum(entry.file_size for entry in entries), path.stat().st_size, name)
        seen: set[str] = set()
        for number, entry in enumerate(entries, 1):
            shown = entry.orig_filename.replace("\\", "/")
            if entry.is_dir() or not wanted(shown):
                continue
            fault = _name_fault(shown, seen) or _zip_fault(entry)
            yield Member(shown, number, fault=fault) if fault else _unzipped(archive, entry, shown, number)


def tar_members(stream: Any, name: str, wanted: Wanted, packed: Callable[[], int]) -> Iterator[Member]:
    """The wanted members of a tar file, as they come by; `stream` is unpacked already, of `packed()` bytes so far."""
    counted: Any = _Counted(stream, name, packed)
    seen: set[str] = set()
    number = 0
    try:
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Header) as archive:
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps every header otherwise
                number += 1
                _check_count(number, name)
                if entry.isdir() or not wanted(entry.name):
                    continue
                fault = _name_fault(entry.name, seen) or _tar_fault(entry)
                yield Member(entry.name, number, fault=fault) if fault else _untarred(archive, entry, number)
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as a tar archive: {_said(error)}", AGAIN) from error


def _check_count(count: int, name: str) -> None:
    if count > MEMBERS:
        raise DataError(f"{name} holds more than {MEMBERS:,} files", SPLIT)


def _check_size(unpacked: int, packed: int, name: str) -> None:
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise DataError(
            f"{name} unpacks to {unpacked:,} bytes or more, {unpacked // max(packed, 1):,} times its size: that is no picture and no sound",
            "Do not use this archive, or unpack it yourself.",
        )


def _name_fault(name: str, seen: set[str]) -> str | None:
    if not name or "\0" in name:
        return "its name in the archive is empty or holds a NUL"
    if name.startswith("/") or _DRIVE.match(name):
        return "its name in the archive is absolute"
    if ".." in name.split("/"):
        return "its name in the archive leads out of it (..)"
    if not _is_text(name):
        return "its name in the archive is not UTF-8"
    if name in seen:
        return "the archive holds this name twice"
    seen.add(name)
    return None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _zip_fault(entry: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "a link in the archive" if kind == stat.S_IFLNK else "no regular file in the archive"
    if entry.flag_bits & 0x1:
        return "encrypted in the archive"
    return _size_fault(entry.file_size)


def _tar_fault(entry: tarfile.TarInfo) -> str | None:
    if entry.issym() or entry.islnk():
        return "a link in the archive"
    if not entry.isreg() or entry.issparse():
        return "no regular file in the archive"
    return _size_fault(entry.size)


def _size_fault(size: int) -> str | None:
    return f"{size:,} bytes in the archive: at most {MEMBER_BYTES:,} are read" if size > MEMBER_BYTES else None


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, number: int) -> Member:
    try:
        with archive.open(entry) as stream:
            data = stream.read(MEMBER_BYTES)  # never more than the directory says
    except _UNREADABLE as error:
        return Member(name, number, fault=f"damaged in the archive: {_said(error)}")
    if len(data) != entry.file_size:
        return Member(name, number, fault="damaged in the archive: it ends early")
    return Member(name, number, data)


def _untarred(archive: tarfile.TarFile, entry: tarfile.TarInfo, number: int) -> Member:
    stream = archive.extractfile(entry)
    assert stream is not None  # a regular file
    data = stream.read()
    if len(data) != entry.size:
        raise tarfile.ReadError(f"it ends in the middle of {shorten(entry.name, 100)}")
    return Member(entry.name, number, data)


class _Header(tarfile.TarInfo):
    """A header that is refused where tarfile would stop without a word, and take the rest of the archive for its end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end mark that every writer leaves
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{_said(error)}, at byte {archive.offset:,}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, b"L", b"K")
        if self.type in extended and self.size > HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


class _Counted:
    """A stream that ends a bomb while it unpacks."""

    def __init__(self, stream: Any, name: str, packed: Callable[[], int]) -> None:
        self._stream, self._name, self._packed, self._size = stream, name, packed, 0

    def read(self, size: int) -> bytes:
        data = bytes(self._stream.read(size))
        self._size += len(data)
        _check_size(self._size, self._packed(), self._name)
        return data


def _said(error: Exception) -> str:
    return shorten(next(iter(str(error).splitlines()), "") or type(error).__name__, 200)
