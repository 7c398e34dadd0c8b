"""What a store would say of an object that holds exactly the bytes of a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from contender.files import CHUNK


@dataclass(frozen=True)
class Fingerprint:
    """A file's sha256, and the `version` of an object with the very bytes that it was computed of.

    Both are empty where the store keeps no digest of contents. A store that encrypts with keys of its own has another version for
    the same bytes: that it differs says nothing.
    """

    sha256: str
    version: str


def etag_fingerprint(path: Path, part: int) -> Fingerprint:
    """Both digests in one read, so that an equal ETag proves the sha256 of what was sent.

    An object that was sent in one request has the MD5 of its bytes; one of several, `part` bytes each, the MD5 of their MD5s and
    their number. A file of `part` bytes or more counts as several.
    """
    whole, parts, alone = hashlib.sha256(), [], path.stat().st_size < part
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
