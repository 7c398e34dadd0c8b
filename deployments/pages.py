"""A run's own pages beside the Prefect UI: its report, and Data Docs, as contender/pages.py points to them.

    GET /contender/runs/<flow run>/<token>/report
    GET /contender/runs/<flow run>/<token>/data-docs/<page>.html

Without the token of the run nothing is told, not even whether there is such a run. What is served is the file that the pointer names,
or a page right in the folder that it names, and never what a link there leads to. Pages quote rows of strangers: the browser gives
them no script, no request, no form, and an origin of their own, so that none could read the auth string of the UI beside it.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import stat
from pathlib import Path

from contender.pages import read_pointer
from deployments.guard import PAGES, Send

POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
MOST_BYTES = 32 << 20
DOCS_PAGE = re.compile(r"[A-Za-z0-9_-]{1,100}\.html")
GONE = (
    '<!doctype html><meta charset="utf-8"><title>Contender</title><p>This page is not here any more: only those of the newest runs '
    "are kept. The command <code>contender report</code> opens the report of a release.</p>"
)


class Pages:
    """Answers for the paths below PAGES, from the pointers in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, method: str, path: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await _answer(send, 405, b"", method, (b"allow", b"GET, HEAD"))
            return
        found = await asyncio.to_thread(self.find, path)
        await _answer(send, 404 if found is None else 200, GONE.encode() if found is None else found, method)

    def find(self, path: str) -> bytes | None:
        """The page at a path that is decoded already; None where it is none, whatever the reason."""
        flow_run_id, token, kind, *rest = [*path.removeprefix(PAGES).split("/"), "", ""]
        pointer = read_pointer(self._folder, flow_run_id)
        if pointer is None or not hmac.compare_digest(pointer.token.encode(), token.encode(errors="replace")):
            return None
        rest = [part for part in rest if part]
        if kind == "report" and not rest:
            return _read(Path(pointer.report)) if pointer.report else None
        if kind == "data-docs" and len(rest) == 1 and DOCS_PAGE.fullmatch(rest[0]):
            return _read(Path(pointer.data_docs, rest[0])) if pointer.data_docs else None
        return None


def _read(path: Path) -> bytes | None:
    """A regular file's bytes; None for anything else, and where a link leads to it."""
    try:
        if path.resolve(strict=True) != path:
            return None
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            status = os.fstat(stream.fileno())
            return stream.read() if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES else None
    except (OSError, ValueError):
        return None


async def _answer(send: Send, status: int, body: bytes, method: str, *more: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", POLICY.encode()),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
