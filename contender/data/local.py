"""Source files in a folder of this machine: regular files only, and links only where they stay inside."""

# Paths are strings here: a Path object per entry costs seconds where there are 100,000.
# ruff: noqa: PTH110, PTH112, PTH114, PTH116, PTH117, PTH118
from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from contender.data.formats import Media, left_out_by_name
from contender.data.places import (
    MAGIC,
    Found,
    Skipped,
    belongs,
    check_format,
    glob_pattern,
    nothing_there,
    table_among_media,
    version_of,
)
from contender.errors import Unreadable, UsageError
from contender.files import expanded, is_file
from contender.records import SkippedFile
from contender.text import shorten

NAME_ONE = "Name a folder, a glob or a file."
KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class LocalPlace:
    """A folder, a glob or a file below `base`, or with an absolute path."""

    def __init__(self, source: str, base: Path, media: Media | None = None) -> None:
        if "\0" in source:
            raise UsageError("a path holds a NUL character", NAME_ONE)
        self.source = source
        path = Path(base, expanded(source))
        self.pattern = None
        if MAGIC.search(source) and not _exists(path):
            root, pattern = _glob_parts(path)
            self.pattern = glob_pattern(pattern)
            path = root
        self.media = media
        self.table = table_among_media(path.name, media) if self.pattern is None and is_file(path) else None
        self.path = path.parent if self.table else path
        self.single = False
        self._linked: set[str] = set()  # files that were reached through a link

    @property
    def name(self) -> str:
        return self.source if os.path.isabs(self.source) else str(self.path.absolute())

    def list(self) -> tuple[list[Found], list[SkippedFile]]:
        try:
            info = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise nothing_there(self.source) from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise UsageError(f"{shorten(self.source, 300)} names nothing: {error.strerror}", NAME_ONE) from None
            raise _unreadable(self.source, error) from error
        if not stat.S_ISDIR(info.st_mode) and self.pattern is None:
            return [self._only(info)], []
        found, skipped = _Walk(self).run()
        found = [file for file in found if belongs(file.path, self.media, self.table)]
        if not found and not skipped:
            raise nothing_there(self.source)
        return found, skipped

    def look(self, path: str) -> Found | None:
        full = self._full(path)
        try:
            info = os.stat(full)
            linked = path in self._linked or os.path.islink(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(info.st_mode) or (linked and not self.single and not self.inside(full)):
            return None
        return _found(path, info)

    def open(self, path: str) -> BinaryIO:
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for a writer that never comes.
            handle = os.open(self._full(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileNotFoundError(path)
        return os.fdopen(handle, "rb", buffering=0)

    def inside(self, full: str) -> bool:
        """Whether a path, its links resolved, lies below the source."""
        root = os.path.realpath(self.path).rstrip("/") + "/"
        return f"{os.path.realpath(full)}/".startswith(root)

    def reached_by_link(self, path: str) -> None:
        self._linked.add(path)

    def _full(self, path: str) -> str:
        return str(self.path) if self.single else os.path.join(self.path, path)

    def _only(self, info: os.stat_result) -> Found:
        if not stat.S_ISREG(info.st_mode):
            kind = KINDS.get(stat.S_IFMT(info.st_mode), "no regular file")
            raise UsageError(f"{self.source} is {kind}", "Name a folder, a glob or a regular file.")
        check_format(self.path.name, self.media)
        self.single = True
        return _found(self.path.name, info)


class _Walk:
    """One listing: real folders first, then links, so that a file that is there under its own name is not read twice."""

    def __init__(self, place: LocalPlace) -> None:
        self.place = place
        self.found: list[Found] = []
        self.skipped = Skipped(place.media)
        self.links: list[str] = []
        self.real_files: set[str] = set()
        self.real_folders: set[str] = set()

    def run(self) -> tuple[list[Found], list[SkippedFile]]:
        self._folder("", os.path.realpath(self.place.path), linked=False)
        links_left = sorted(self.links)
        while links_left:
            self.links = []
            for path in links_left:
                self._link(path)
            links_left = sorted(self.links)
        return sorted(self.found, key=lambda file: file.path), self.skipped.sorted()

    def _folder(self, first: str, real: str, linked: bool) -> None:
        """Everything below one folder; `first` is "" or ends in a slash. A stack, not a recursion: depth is not ours to limit."""
        waiting = [(first, real)]
        while waiting:
            folder, real = waiting.pop()
            self.real_folders.add(real)
            try:
                with os.scandir(os.path.join(self.place.path, folder)) as entries:
                    for entry in entries:
                        if self._is_folder(folder + entry.name, entry):
                            waiting.append((f"{folder}{entry.name}/", f"{real}/{entry.name}"))
                        else:
                            self._file(folder + entry.name, f"{real}/{entry.name}", entry, linked)
            except FileNotFoundError:
                continue  # removed since its parent was listed
            except OSError as error:
                raise _unreadable(folder or self.place.source, error) from error

    def _is_folder(self, path: str, entry: os.DirEntry[str]) -> bool:
        if not entry.is_dir(follow_symlinks=False):
            return False
        if reason := left_out_by_name(entry.name):
            if self.place.pattern is None:
                self.skipped.add(path + "/", reason)
            return False
        return True

    def _file(self, path: str, real: str, entry: os.DirEntry[str], linked: bool) -> None:
        if entry.is_dir(follow_symlinks=False) or (self.place.pattern and not self._may_match(path, entry)):
            return
        if entry.is_symlink():
            self.links.append(path)
            return
        if self.skipped.by_name(path):
            return
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            self.skipped.add(path, "gone before it was read")
            return
        if not stat.S_ISREG(info.st_mode):
            self.skipped.add(path, f"{KINDS.get(stat.S_IFMT(info.st_mode), 'something else')}, not a regular file")
            return
        self._add(path, real, info, linked)

    def _may_match(self, path: str, entry: os.DirEntry[str]) -> bool:
        pattern = self.place.pattern
        return pattern is None or bool(pattern.fullmatch(path)) or (entry.is_symlink() and entry.is_dir())

    def _link(self, path: str) -> None:
        full = os.path.join(self.place.path, path)
        real = os.path.realpath(full)
        if not self.place.inside(full):
            self.skipped.add(path, "a link that leads out of the source")
        elif not os.path.exists(real):
            self.skipped.add(path, "a link to nothing")
        elif real in self.real_files or real in self.real_folders:
            self.skipped.add(path, "a link to what is read already")
        elif os.path.isdir(real):
            self._folder(f"{path}/", real, linked=True)
        elif not self.skipped.by_name(path):
            info = os.stat(real)
            if stat.S_ISREG(info.st_mode):
                self._add(path, real, info, linked=True)
            else:
                self.skipped.add(path, f"a link to {KINDS.get(stat.S_IFMT(info.st_mode), 'something else')}")

    def _add(self, path: str, real: str, info: os.stat_result, linked: bool) -> None:
        try:
            path.encode()
        except UnicodeEncodeError:
            self.skipped.add(path.encode(errors="replace").decode(), "its name is not UTF-8")
            return
        self.real_files.add(real)
        self.found.append(_found(path, info))
        if linked:
            self.place.reached_by_link(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _glob_parts(path: Path) -> tuple[Path, str]:
    """The folder above the first wild card, and the pattern relative to it."""
    parts = path.parts
    first = next(depth for depth, part in enumerate(parts) if MAGIC.search(part))
    return Path(*parts[:first]), "/".join(parts[first:])


def _found(path: str, info: os.stat_result) -> Found:
    # A copy may keep the old mtime of its original, and a clock may have set one in the future: ctime is this machine's own.
    times = info.st_mtime_ns, info.st_ctime_ns
    return Found(path, info.st_size, version_of(info), max(times), times)


def _unreadable(name: str, error: OSError) -> Unreadable:
    return Unreadable(f"cannot read {name}: {error.strerror or error}", "Allow this user to read the whole source.")
