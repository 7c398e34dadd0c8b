"""What a store would say of an object that holds exactly the bytes of a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from contender.files import CHUNK

PART = 16 << 20  # bytes: one part of an upload; a smaller file goes in one request
PARTS = 10_000  # that an upload may have: S3's limit


@dataclass(frozen=True)
class Fingerprint:
    """A file's sha256, and the `version` of an object with the very bytes that it was computed of.

    Both are empty where the store keeps no digest of contents. A store that encrypts with keys of its own has another version for
    the same bytes: that it differs says nothing.
    """

    sha256: str
    version: str


def part_size(size: int) -> int:
    """Bytes of each part of an upload of `size` bytes. ETags are recomputed from it: with another one, what is stored is read back."""
    part = PART
    while size > part * PARTS:
        part *= 2
    return part


def etag_fingerprint(path: Path) -> Fingerprint:
    """Both digests in one read, so that an equal ETag proves the sha256 of what was sent.

    An object that was sent in one request has the MD5 of its bytes; one of several, the MD5 of their MD5s and their number. A
    file of a part's size or more is sent as several.
    """
    size = path.stat().st_size
    part = part_size(size)
    whole, parts, alone = hashlib.sha256(), [], size < part
    current, left = _md5(), part
    with path.open("rb") as stream:
        while chunk := stream.read(min(CHUNK, left)):
            whole.update(chunk)
            current.update(chunk)
            left -= len(chunk)
            if not left:
                parts.append(current.digest())
                current, left = _md5(), part
    if alone:
        return Fingerprint(whole.hexdigest(), current.hexdigest())
    if left < part:
        parts.append(current.digest())
    return Fingerprint(whole.hexdigest(), f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}")


def _md5(data: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(data, usedforsecurity=False)
