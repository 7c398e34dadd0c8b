"""A proxy on loopback that does to requests what networks and stores do, by the seed: between boto3 and a real S3 server.

Each fault is drawn per request, and counted by its name. Those of writes make a writer believe something false.

    slow_down, unavailable, internal    answered 503, 503, 500, never forwarded
    reset_before, reset_in_request      the connection is reset, nothing is forwarded
    silent                              nothing is forwarded or answered, until the client gives up
    slow                                the answer comes in small pieces
    away                                this and all other requests of the next moments are reset
    lost, lost_in_silence               forwarded; the answer is a reset, or none
    late, late_refused, late_in_silence forwarded 50 to 500 ms later; the answer is a reset, 503, or none
    reset_in_answer, truncated          half of the answer's body, then a reset, or a goodbye
    flipped                             one bit of a model file's body is another; not twice in a row, which would be damage to anybody
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ANY = ("slow_down", "unavailable", "internal", "reset_before", "slow", "reset_in_request", "silent", "away")
OF_WRITES = ("lost", "lost_in_silence", "late", "late_refused", "late_in_silence")
OF_READS = ("reset_in_answer", "truncated")
OF_MODELS = ("flipped",)  # what has a sha256 of ours beside it
KINDS = {*ANY, *OF_WRITES, *OF_READS, *OF_MODELS}
CODES = {"slow_down": (503, "SlowDown"), "unavailable": (503, "ServiceUnavailable"), "internal": (500, "InternalError")}
PASSED_ON = ("content-type", "content-length", "etag", "last-modified", "content-range", "accept-ranges")


class FaultyProxy(ThreadingHTTPServer):
    """Forwards to `endpoint`; one request in `every` meets a fault while `on`, `most` in all; refuses everything while `away`.

    The first write whose path holds `away_at` makes it so.
    """

    daemon_threads = True

    def __init__(self, endpoint: str, seed: int, every: float, most: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(endpoint)
        self.faults: Counter[str] = Counter()
        self.on = True
        self.away = False
        self.away_at = ""
        self._rate = 1 / every
        self._most = most
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._late: list[threading.Thread] = []
        self._flipped: set[str] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, method: str, path: str, has_body: bool) -> str:
        """The fault of the next request; empty for none."""
        writes, models = method in ("PUT", "POST", "DELETE"), "/model/" in path
        own = OF_WRITES if writes else OF_MODELS if models else OF_READS
        # Half of a request's faults are those of its kind; and writes and files of models, which are few, meet more of them.
        kinds = [kind for kind in ANY if has_body or kind != "reset_in_request"] + [*own] * (len(ANY) // len(own))
        rate = 2 / 3 if writes else max(self._rate, 1 / 2 if models else 0)
        with self._lock:
            self.away = self.away or bool(self.away_at and writes and self.away_at in path)
            if self.away or time.monotonic() < self._away_until:
                return "reset_before"
            spent = self._most is not None and self.faults.total() >= self._most
            if not self.on or spent or self._dice.random() >= rate:
                return ""
            kind = self._dice.choice(kinds)
            if kind == "flipped" and path in self._flipped:
                self._flipped.remove(path)
                return ""
            if kind == "flipped":
                self._flipped.add(path)
            self.faults[kind] += 1
            if kind == "away":
                self._away_until = time.monotonic() + self._dice.uniform(0.1, 0.5)
            return kind

    def pause(self, low: float, high: float) -> float:
        with self._lock:
            return self._dice.uniform(low, high)

    def later(self, send: Any) -> None:
        """Forwards a write after its sender has been told that it failed."""

        def wait_and_send() -> None:
            time.sleep(self.pause(0.05, 0.5))
            with suppress(OSError, http.client.HTTPException):
                send()

        thread = threading.Thread(target=wait_and_send)
        with self._lock:
            self._late.append(thread)
        thread.start()

    def settle(self) -> None:
        """Waits until every late write has landed."""
        for thread in self._late:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - named by http.server

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        fault = self.server.fault(self.command, self.path, bool(length))
        if fault in ("reset_before", "away"):
            return self._reset()
        if fault == "reset_in_request":
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if fault in CODES:
            return self._refuse(*CODES[fault])
        # As they are now: the next request on this connection comes with others.
        request = self.command, self.path, list(self.headers.items()), body
        if fault.startswith("late"):
            self.server.later(lambda: self._forward(*request))
        elif fault != "silent":
            try:
                status, headers, answer = self._forward(*request)
            except (OSError, http.client.HTTPException):
                return self._reset()
        if fault == "late_refused":
            return self._refuse(*CODES["slow_down"])
        if fault == "silent" or fault.endswith("in_silence"):
            return self._say_nothing()
        if fault in ("late", "lost"):
            return self._reset()
        return self._answer(status, headers, answer, fault)

    def _forward(
        self, method: str, path: str, sent: list[tuple[str, str]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        target = self.server.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent:
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)  # Host among them: the signature covers it
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: str) -> None:
        self.send_response(status)
        kept = {name: value for name, value in headers.items() if name in PASSED_ON or name.startswith("x-amz")}
        if self.command != "HEAD":
            kept["content-length"] = str(len(body))
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "flipped" and body and status < 300:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault in OF_READS:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            if fault == "reset_in_answer":
                self._reset()
            return
        if fault == "slow":
            for start in range(0, len(body), max(1, len(body) // 5)):
                time.sleep(self.server.pause(0.01, 0.05))
                self.wfile.write(body[start : start + max(1, len(body) // 5)])
                self.wfile.flush()
            return
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.send_response(status)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(xml)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(xml)

    def _say_nothing(self) -> None:
        """Returns when the client has given up."""
        self.close_connection = True
        self.rfile.read(1)

    def _reset(self) -> None:
        """Ends the connection without a goodbye."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.connection.close()

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the client went away, or we did
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()


@contextmanager
def faulty(endpoint: str, seed: int = 17, every: float = 4, most: int | None = None) -> Iterator[FaultyProxy]:
    """A running proxy; at the end every late write has landed."""
    proxy = FaultyProxy(endpoint, seed, every, most)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.settle()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
