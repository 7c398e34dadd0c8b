"""Pictures and sounds of a snapshot: their bytes in one file, each once, found by their sha256.

    <snapshot>/source.arrow          rows: the role's value is `sha256:<hex>`, the column `path` says where it came from
    <snapshot>/source.media          the bytes, one after the other
    <snapshot>/source.media.index    sha256 (sorted), offset, size
    <split>/media.json               which files of that kind its sets' values lie in

A value names content, not a place: one picture under two names is one example, which the split deals once; the snapshot is what was
hashed, whatever happens to the source afterwards; and folders, archives and buckets are read alike from then on. Bytes are copied
once for that, and read again one example at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contender.errors import Damaged, DataError
from contender.text import shorten

PACK, INDEX, REFERENCE = ".media", ".media.index", "media.json"
VALUE = re.compile(r"sha256:([0-9a-f]{64})")
_ENTRY = np.dtype([("sha256", ">u8", 4), ("offset", "<i8"), ("size", "<i8")])


class PackWriter:
    """Writes the bytes of one row file's media beside it; the same bytes are kept once."""

    def __init__(self, rows: Path) -> None:
        self._index = rows.with_suffix(INDEX)
        self._stream = rows.with_suffix(PACK).open("wb")
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0

    def add(self, data: bytes) -> str:
        """The value that stands for these bytes."""
        digest = hashlib.sha256(data)
        if digest.digest() not in self._places:
            self._stream.write(data)
            self._places[digest.digest()] = (self._end, len(data))
            self._end += len(data)
        return f"sha256:{digest.hexdigest()}"

    def close(self) -> None:
        self._stream.close()
        entries = np.empty(len(self._places), _ENTRY)
        for number, (digest, place) in enumerate(sorted(self._places.items())):
            entries[number] = (np.frombuffer(digest, ">u8"), *place)
        self._index.write_bytes(entries.tobytes())

    def abandon(self) -> None:
        """Closes what is open, after an error."""
        self._stream.close()


class MediaFiles:
    """Reads bytes by their values from some packs; any number of threads may read at once."""

    def __init__(self, packs: Sequence[Path]) -> None:
        self._packs = [_Pack(path) for path in packs]

    @classmethod
    def beside(cls, rows: Path) -> MediaFiles:
        """Those that the values of a row file lie in: of a split's set, by its reference; of a snapshot, its own."""
        reference = rows.parent / REFERENCE
        try:
            packs = [rows.parent / name for name in json.loads(reference.read_bytes())["packs"]]
        except FileNotFoundError:
            packs = [rows.with_suffix(PACK)]
        missing = [pack for pack in packs if not pack.is_file()]
        if missing:
            raise DataError(f"the media of {rows.name} are gone: there is no {missing[0]}", "Run the pipeline again.")
        return cls(packs)

    def read(self, value: str) -> bytes:
        """The bytes that have this sha256, checked; DataError where there are none, Damaged where they are others."""
        match = VALUE.fullmatch(value)
        if match is None:
            raise DataError(f"{shorten(value, 100)!r} names no picture and no sound of a snapshot", "Take it again.")
        digest = bytes.fromhex(match[1])
        for pack in self._packs:
            data = pack.read(digest)
            if data is not None:
                if hashlib.sha256(data).digest() != digest:
                    raise Damaged(f"the bytes of {value} in {pack.path} are others by now", "Run the pipeline again.")
                return data
        raise DataError(f"no snapshot holds {value}", "Run the pipeline again.")


class _Pack:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = np.fromfile(path.with_suffix(INDEX), _ENTRY)
        self._first = self._entries["sha256"][:, 0].astype(np.uint64)
        self._handle: int | None = None

    def read(self, digest: bytes) -> bytes | None:
        wanted = np.frombuffer(digest, ">u8")
        first, last = (np.searchsorted(self._first, np.uint64(wanted[0]), side) for side in ("left", "right"))
        for entry in self._entries[first:last]:
            if (entry["sha256"] == wanted).all():
                if self._handle is None:
                    self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                return os.pread(self._handle, int(entry["size"]), int(entry["offset"]))
        return None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            os.close(self._handle)  # type: ignore[arg-type]


def refer(split: Path, snapshot: Path, row_files: Sequence[str]) -> None:
    """Leaves word in a split's folder of the packs in a snapshot's, both folders of stages in one workspace.

    `split`: the folder as it is while the stage is computed, beside the one that it will be.
    """
    packs = [f"../../{snapshot.parent.name}/{snapshot.name}/{name}{PACK}" for name in row_files]
    (split / REFERENCE).write_text(json.dumps({"packs": packs}))


def with_bytes(examples: Sequence[Mapping[str, Any]], rows: Path) -> list[dict[str, Any]]:
    """Examples of a row file as somebody gives them who has the files: values replaced by the bytes that they stand for."""
    media = MediaFiles.beside(rows)
    return [
        {
            name: media.read(value) if isinstance(value, str) and VALUE.fullmatch(value) else value
            for name, value in one.items()
        }
        for one in examples
    ]
