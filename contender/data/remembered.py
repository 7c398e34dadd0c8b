"""Digests of files that did not change since they were last hashed, kept beside the workspace.

Losing or damaging this file costs time only: a file is trusted to be the same one while path, size and version are, and a version
only where the file had rested for two seconds before it was listed. One that was written a moment ago can be written again within
the same tick of the file system's clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contender.data.places import Found
from contender.files import write_durably

RESTED = 2_000_000_000  # ns


class Digests:
    """sha256, or the reason to leave the file out, by source and path."""

    def __init__(self, cache: Path | None, source: str) -> None:
        self._cache = cache
        self._source = source
        known = _load(cache).get(source) if cache else None
        self._known: Mapping[str, Any] = known if isinstance(known, dict) else {}
        self._now: dict[str, list[Any]] = {}
        self._started = time.time_ns()

    def get(self, found: Found) -> tuple[str, str | None] | None:
        """(sha256, reason to leave it out) of a file that is the one seen before."""
        match self._known.get(found.path):
            case [found.size, found.version, str(sha256), str() | None as reason]:
                self._now[found.path] = [found.size, found.version, sha256, reason]
                return sha256, reason
        return None

    def put(self, found: Found, sha256: str, reason: str | None) -> None:
        if found.changed_at < self._started - RESTED:
            self._now[found.path] = [found.size, found.version, sha256, reason]

    def save(self) -> None:
        """Best effort: without it files are read again, and a workspace that cannot be written is said by what must write there."""
        if self._cache is None or self._now == self._known:
            return
        data = {"revision": 1, "sources": _load(self._cache) | {self._source: self._now}}
        with suppress(OSError, ValueError):  # ValueError: a NUL in the path
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._cache, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _load(cache: Path) -> dict[str, Any]:
    try:
        content = json.loads(cache.read_bytes())
        return dict(content["sources"]) if content["revision"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
