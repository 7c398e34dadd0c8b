"""Where source files lie: a folder, a glob or one file, on this machine or in a bucket; listed, looked at, opened.

A path is always relative to the source, with forward slashes, so that the same files give the same snapshot wherever they lie.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from contender.data.formats import Media, format_of, known_formats, left_out_by_name
from contender.errors import NothingThere, UsageError
from contender.files import file_url_path
from contender.records import SkippedFile
from contender.store.base import ObjectInfo, Store, key_fault
from contender.text import shorten

MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Found:
    """One file of a listing; `version` changes when its content does. `changed_at`: ns since 1970, 0 where the version is enough.

    `times`: when it changed, ns since 1970, as each clock that was asked says it.
    """

    path: str
    size: int
    version: str
    changed_at: int = 0
    times: tuple[int, ...] = field(
        default=(), compare=False
    )  # an object that is written again as it was did not change

    def rested(self, now: int, seconds: float) -> bool:
        """Whether it changed no less than so long ago. `now`: ns since 1970.

        A clock may be ahead of ours, so a little in the future is a moment ago, too; further ahead it says nothing, and a file
        that could never be read helps nobody.
        """
        return all(abs(now - time) >= seconds * 1e9 for time in self.times)


class Place(Protocol):
    """One source."""

    @property
    def name(self) -> str:
        """For people, and for telling sources apart."""

    def list(self) -> tuple[list[Found], list[SkippedFile]]:
        """Every file that may be read, sorted by path, and what is left out and why. UsageError where the source does not exist."""

    def look(self, path: str) -> Found | None:
        """The file as it is now; None where it is gone, or is no file of the source any more."""

    def open(self, path: str) -> BinaryIO:
        """The file's bytes; FileNotFoundError or Missing where it is gone."""


def locate(source: str, base: Path, profile: str | None = None, media: Media | None = None) -> Place:
    """The place that `source` names: a path relative to `base`, a `file://` or an `s3://` URL; nothing is read yet.

    `media`: what the files hold beside tables. A table that is named by itself then brings the pictures or sounds of its folder.
    """
    from contender.data.local import LocalPlace

    scheme, separator, rest = source.partition("://")
    if not separator:
        return LocalPlace(source, base, media)
    if scheme == "file":
        try:
            return LocalPlace(file_url_path(source), base, media)
        except ValueError as error:
            raise UsageError(f"a file:// URL {error}", "Or name s3://bucket/prefix.") from None
    from contender.store import open_store

    bucket, _, path = rest.partition("/")
    table = table_among_media(path, media)
    if table and not MAGIC.search(path):
        path = path.removesuffix(table)
    else:
        table = None
    return StorePlace(source, open_store(f"{scheme}://{bucket}", profile), path, media, table)


def table_among_media(path: str, media: Media | None) -> str | None:
    """The name of the table that a path ends in, where its pictures or sounds lie beside it."""
    form = format_of(path, media) if media else None
    return path.rsplit("/", 1)[-1] if form and form.is_table else None


def belongs(path: str, media: Media | None, table: str | None) -> bool:
    """Whether a file of a source counts: where one table is named, it and what is no table."""
    form = format_of(path, media)
    return table is None or path == table or (form is not None and not form.is_table)


@dataclass(frozen=True)
class StorePlace:
    """Objects of a bucket: one key, the keys below a prefix, or those that a glob matches."""

    source: str
    store: Store
    path: str
    media: Media | None = None
    table: str | None = None  # the only one that is read

    @property
    def name(self) -> str:
        return self.source

    def list(self) -> tuple[list[Found], list[SkippedFile]]:
        found, skipped = [], Skipped(self.media)
        pattern = glob_pattern(self.path) if MAGIC.search(self.path) else None
        root = self._root()
        for info in self.store.list(MAGIC.split(self.path, maxsplit=1)[0] if pattern else self.path.rstrip("/")):
            if not pattern and info.key == self.path:
                return [_found(info, self._single())], []
            if not info.key.startswith(root) or (pattern and not pattern.fullmatch(info.key)):
                continue
            name = info.key.removeprefix(root)
            if not belongs(name, self.media, self.table):
                continue
            if not skipped.by_name(name) and not skipped.by_key(name, info.key):
                found.append(_found(info, name))
        if (not found and not skipped.files) or (self.table and self.table not in {file.path for file in found}):
            raise nothing_there(self.source)
        return sorted(found, key=lambda file: file.path), skipped.sorted()

    def look(self, path: str) -> Found | None:
        key = self._key(path)
        first = next(iter(self.store.list(key)), None)
        return _found(first, path) if first and first.key == key else None

    def open(self, path: str) -> BinaryIO:
        return self.store.open(self._key(path))

    def _root(self) -> str:
        """The part of every key that paths leave out: up to the last slash before a wild card, or the folder itself."""
        if MAGIC.search(self.path):
            return MAGIC.split(self.path, maxsplit=1)[0].rpartition("/")[0] + "/" if "/" in self.path else ""
        return f"{self.path.rstrip('/')}/" if self.path.strip("/") else ""

    def _single(self) -> str:
        name = self.path.rsplit("/", 1)[-1]
        check_format(name, self.media)
        return name

    def _key(self, path: str) -> str:
        single = (
            not MAGIC.search(self.path) and format_of(self.path, self.media) and path == self.path.rsplit("/", 1)[-1]
        )
        return self.path if single else self._root().lstrip("/") + path


def _found(info: ObjectInfo, path: str) -> Found:
    return Found(path, info.size, info.version, times=(int(info.modified * 1e9),))


class Skipped:
    """Collects what is left out; a folder is named once, whatever it holds."""

    def __init__(self, media: Media | None = None) -> None:
        self.media = media
        self.files: dict[str, str] = {}

    def add(self, path: str, reason: str) -> None:
        self.files.setdefault(path, reason)

    def by_name(self, path: str) -> bool:
        """Whether a part of the path, or its ending, leaves it out."""
        parts = path.split("/")
        for depth, part in enumerate(parts, 1):
            if reason := left_out_by_name(part):
                self.add("/".join(parts[:depth]) + ("/" if depth < len(parts) else ""), reason)
                return True
        if format_of(path, self.media) is None:
            self.add(path, "not one of the formats that are read")
            return True
        return False

    def by_key(self, path: str, key: str) -> bool:
        if fault := key_fault(key):
            self.add(path, fault)
        return bool(fault)

    def sorted(self) -> list[SkippedFile]:
        return [SkippedFile(path=path, reason=reason) for path, reason in sorted(self.files.items())]


def check_format(name: str, media: Media | None = None) -> None:
    """UsageError where one file is named as the source and its name promises no format."""
    if format_of(name, media) is None:
        raise UsageError(f"{name} is in no format that is read", f"Its name must end in one of {known_formats(media)}.")


def nothing_there(source: str) -> NothingThere:
    what = "matches no file" if MAGIC.search(source) else "does not exist, or holds nothing"
    return NothingThere(
        f"{shorten(source, 300)} {what}", "Name a folder, a glob or a file, relative to the YAML, or s3://…"
    )


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` and `?` stay within a folder, `**/` spans any number of them, `[…]` is one character of a set."""
    out, at = "", 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out, at = out + "(?:[^/]+/)*", at + 3
            continue
        character, at = glob[at], at + 1
        end = glob.find("]", at + 1) if character == "[" else -1
        if end > 0:
            inside = re.sub(r"[\\\[&~|]", r"\\\g<0>", glob[at:end])
            out, at = out + "[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]", end + 1
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character)
    try:
        return re.compile(out, re.DOTALL)
    except re.error as error:
        raise UsageError(
            f"the glob {glob} is not one: {error.msg}", "Write a range in its order, such as [a-z]."
        ) from None


def version_of(info: os.stat_result) -> str:
    """ctime is part of it: a file rewritten in place with its old mtime put back is another version."""
    return f"{info.st_dev:x}-{info.st_ino:x}-{info.st_mtime_ns:x}-{info.st_ctime_ns:x}-{info.st_size:x}"
