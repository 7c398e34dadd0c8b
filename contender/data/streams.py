"""Bytes on their way from a file to a parser: hashed, unpacked, and turned into UTF-8, all in one read and bounded memory."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from contender.data.formats import END_BYTES
from contender.errors import DataError
from contender.files import CHUNK

HEAD = 1 << 16  # bytes that are looked at before parsing
BOMS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Hashed(io.RawIOBase):
    """A file's bytes, hashed as they pass; keeps the first and the last few."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__()
        self._raw = raw
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.head = self.tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self._pass(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        data = self._raw.read(size)
        self._pass(data)
        return data

    def drain(self) -> None:
        """Passes what no parser asked for, so that the digest covers the whole file."""
        while self.read(CHUNK):
            pass

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def _pass(self, data: bytes) -> None:
        self._sha256.update(data)
        self.size += len(data)
        if len(self.head) < END_BYTES:
            self.head = (self.head + data[:END_BYTES])[:END_BYTES]
        self.tail = (self.tail + data[-END_BYTES:])[-END_BYTES:]


class Prefixed(io.RawIOBase):
    """Bytes that were read ahead, and the stream behind them."""

    def __init__(self, head: bytes, rest: Any) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


class Transcoded(io.RawIOBase):
    """Bytes of another encoding as UTF-8; what cannot be decoded becomes U+FFFD."""

    def __init__(self, rest: Any, encoding: str, name: str) -> None:
        super().__init__()
        self._rest = rest
        self._encoding = encoding
        self._name = name
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._rest.read(HEAD)
            self._ended = not data
            self._ready = memoryview(self._decoded(data).encode("utf-8", "replace"))
        part = self._ready[: len(buffer)]
        self._ready = self._ready[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    def _decoded(self, data: bytes) -> str:
        try:
            return self._decoder.decode(data, final=not data)
        except (
            UnicodeError
        ) as error:  # utf-16 and utf-32 refuse what has no byte order mark, whatever the error handler
            raise DataError(
                f"{self._name} cannot be read as {self._encoding}: {error}",
                "Set data.csv.encoding to the order of its bytes, such as utf-16-le or utf-16-be, or write the file in UTF-8.",
            ) from error


def unpacked(stream: Hashed, gzipped: bool) -> Any:
    """The stream itself, or what its gzip members hold."""
    return gzip.GzipFile(fileobj=stream, mode="rb") if gzipped else stream


@contextmanager
def gzip_errors(name: str) -> Iterator[None]:
    """Turns the errors of a damaged or shortened gzip file into one that says so."""
    try:
        yield
    except EOFError as error:
        raise DataError(f"{name} ends in the middle of its gzip data", "Write or copy the file again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is damaged, or no gzip file: {error}", "Write or copy the file again.") from error


def as_utf8(stream: Any, encoding: str, name: str) -> tuple[bytes, Any]:
    """The first bytes (at most 64 KiB; fewer mean that there are no more) and the whole stream, in UTF-8 without a mark.

    A byte order mark decides about the encoding, whatever `encoding` says. Bytes that are no UTF-8 pass as they are.
    """
    start = _read(stream, HEAD)
    bom, encoding = next(((mark, name) for mark, name in BOMS if start.startswith(mark)), (b"", encoding))
    start = start[len(bom) :]
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        if start[:4096].count(0) * 4 > len(start[:4096]):
            raise DataError(
                f"{name} is not UTF-8: every few bytes are NUL, as in UTF-16 without a byte order mark",
                "Set data.csv.encoding (utf-16-le, utf-16-be), or write the file in UTF-8.",
            )
        return start, Prefixed(start, stream)
    decoded = Transcoded(Prefixed(start, stream), encoding, name)
    start = _read(decoded, HEAD)
    return start, Prefixed(start, decoded)


def _read(stream: Any, size: int) -> bytes:
    """`size` bytes, fewer only at the end."""
    parts = []
    while size and (data := stream.read(size)):
        parts.append(bytes(data))
        size -= len(data)
    return b"".join(parts)
