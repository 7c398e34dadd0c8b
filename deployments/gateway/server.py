"""uvicorn on loopback, with patience for so many senders that dawdle, and room for those that do not.

uvicorn waits for ever for a request's headers. Here a connection has some seconds for each whole request, and where too many are
unfinished the one that has taken longest makes room: a client that opens a thousand and says nothing keeps nobody out.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, ClassVar

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from deployments.gateway.app import Settings, create_app

REQUEST_SECONDS = 15.0  # for a whole request; its body alone is refused, with an answer, before that
MOST_UNFINISHED = 300
GRACE_SECONDS = 10  # for open deliveries at the end
HEADER_BYTES = 16_384
UNFINISHED = (h11.IDLE, h11.SEND_BODY)


class Patient(H11Protocol):
    """One connection."""

    _dawdling: ClassVar[dict[Patient, asyncio.TimerHandle]] = {}  # in the order in which they began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._no_longer_waits()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        unfinished = self.conn.their_state in UNFINISHED and not self.transport.is_closing()
        if not unfinished:
            self._no_longer_waits()
        elif self not in self._dawdling:
            self._wait()

    def _wait(self) -> None:
        if len(self._dawdling) >= MOST_UNFINISHED:
            next(iter(self._dawdling))._give_up()
        self._dawdling[self] = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _no_longer_waits(self) -> None:
        timer = self._dawdling.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        self._no_longer_waits()
        self.transport.abort()


def configured(app: FastAPI, port: int) -> uvicorn.Config:
    """uvicorn as it serves the gateway."""
    options: dict[str, Any] = {"http": Patient, "ws": "none", "h11_max_incomplete_event_size": HEADER_BYTES}
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        access_log=False,  # it would hold the tokens of paths
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )


def serve(port: int, settings: Settings) -> None:
    """Serves until it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn ends in order, and then raises the signal again
    uvicorn.Server(configured(create_app(settings), port)).run()
