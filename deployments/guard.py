"""What stands in front of Prefect's server: who may speak to it, when it was last used, a page that signs the UI in, runs' own pages.

A server on loopback is reachable by every web page that its user opens. Prefect asks for the auth string on its API; the rest is
refused here, before Prefect sees it: a Host that is not loopback (DNS rebinding) and an Origin that is not the server's own.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Pages = Callable[[str, str, Send], Awaitable[None]]  # method, path: see deployments/pages.py

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEALTH = "/contender/health"
SIGN_IN = "/contender/sign-in"
PAGES = "/contender/runs/"

# Pages load and send nothing elsewhere: Prefect's UI calls a session recorder whatever the analytics setting says, and an artifact
# that quotes rows could name an image. Its graphs compile their shaders (unsafe-eval) and run in workers made of blobs.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' blob:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

# Both of Prefect's UIs keep the auth string, base64, in this entry. It arrives in the fragment, which browsers do not send.
SIGN_IN_SCRIPT = """
const secret = decodeURIComponent(location.hash.slice(1));
if (secret) localStorage.setItem("prefect-password", btoa(secret));
location.replace("/");
"""
SIGN_IN_PAGE = f'<!doctype html><meta charset="utf-8"><title>Contender</title><script>{SIGN_IN_SCRIPT}</script>'
SIGN_IN_DIGEST = b64encode(sha256(SIGN_IN_SCRIPT.encode()).digest()).decode()
SIGN_IN_POLICY = f"default-src 'none'; script-src 'sha256-{SIGN_IN_DIGEST}'"


class Activity:
    """When the server was last used: the clock of a server that ends itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open = 0
        self._last = clock()

    def __enter__(self) -> None:
        self._open += 1

    def __exit__(self, *_: object) -> None:
        self._open -= 1
        self._last = self._clock()

    def touch(self) -> None:
        self._last = self._clock()

    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while a request or a websocket is open."""
        return 0.0 if self._open else self._clock() - self._last


def refusal(scope: Scope, names: frozenset[str] = LOOPBACK) -> tuple[int, str] | None:
    """Status and reason where a request must not reach what is behind; None where it may. `names`: those that it answers to."""
    headers = scope["headers"]
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or (name_ := _host_name(hosts[0])) not in names:
        return 421, "This server answers to its own names only."
    schemes = ("http",) if name_ in LOOPBACK else ("http", "https")  # behind a proxy, TLS ends before it
    for name, value in headers:
        if name == b"origin" and value.decode("latin-1") not in [f"{scheme}://{hosts[0]}" for scheme in schemes]:
            return 403, "Pages of another origin are not served."
    return None


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Guard:
    """An ASGI application around Prefect's."""

    def __init__(self, app: App, instance: str, activity: Activity, pages: Pages) -> None:
        self._app = app
        self._pages = pages
        self._instance = instance
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = refusal(scope)
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
            return
        with self._activity:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "http" and path == HEALTH:
            await _answer(send, 200, json.dumps({"instance": self._instance}).encode(), b"application/json")
        elif scope["type"] == "http" and path == SIGN_IN:
            await _answer(send, 200, SIGN_IN_PAGE.encode(), b"text/html", SIGN_IN_POLICY)
        elif scope["type"] == "http" and path.startswith(PAGES):
            await self._pages(scope["method"], path, send)
        else:
            await self._app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)


def _with_headers(send: Send) -> Send:
    """Adds the page headers; takes out Prefect's `Access-Control-Allow-Origin: *` on a failed CSRF check."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", ()) if pair != (b"access-control-allow-origin", b"*")]
            message["headers"] = [*kept, *PAGE_HEADERS, (b"content-security-policy", CONTENT_POLICY.encode())]
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
    else:
        await _answer(send, status, json.dumps({"detail": reason}).encode(), b"application/json")


async def _answer(send: Send, status: int, body: bytes, kind: bytes, policy: str = "default-src 'none'") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    headers += [*PAGE_HEADERS, (b"content-security-policy", policy.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
