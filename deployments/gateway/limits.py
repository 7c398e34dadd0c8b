"""Sizes, times and rates: what one sender, or all of them, can make the gateway hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from deployments.gateway import answers

BODY_SECONDS = 10.0  # for a whole body
HELD_BYTES = 67_108_864  # of all bodies that are being read
FREE_BYTES = 65_536  # of each body that count for nothing: large slow bodies must not keep small ones out
SIZE_HEADER, ENCODING_HEADER = "content-length", "content-encoding"


class Bucket:
    """So many a minute, all of them at once if need be."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._at = clock()

    def take(self) -> float:
        """0.0 where one was left, else the seconds until there is one."""
        now = self._clock()
        rate = self.per_minute / 60
        self._left = min(self.per_minute, self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / rate
        self._left -= 1
        return 0.0


class Rates:
    """Of one pipeline. Forged and repeated deliveries have a bucket of their own: they never use up the true sender's."""

    def __init__(self, per_minute: int) -> None:
        self.good = Bucket(per_minute)
        self.bad = Bucket(per_minute)


class Bodies:
    """Reads bodies, each up to its limit and all of them up to one."""

    def __init__(self, most: int = HELD_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._left = most
        self._seconds = seconds

    async def read(self, request: Request, most: int) -> bytes:
        """The body; Refused where it is too large, too slow, compressed, or one too many."""
        check_headers(request, most)
        body = bytearray()
        held = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise answers.too_large(most)
                    beyond = max(0, len(body) - FREE_BYTES) - held
                    if beyond > self._left:
                        raise answers.busy()
                    self._left -= beyond
                    held += beyond
        except TimeoutError:
            raise answers.too_slow(self._seconds) from None
        except ClientDisconnect:
            raise answers.Refused(400, "the connection ended within the body", "Send it again.", "cut_off") from None
        finally:
            self._left += held
        return bytes(body)


def check_headers(request: Request, most: int) -> None:
    """What can be refused before a byte of the body is read."""
    if request.headers.get(ENCODING_HEADER, "identity").strip().lower() not in ("", "identity"):
        raise answers.malformed("the body is compressed", "Send it as it is, without Content-Encoding.")
    declared = request.headers.get(SIZE_HEADER, "0")
    if not (declared.isascii() and declared.isdigit()):
        raise answers.malformed("Content-Length is no number", "Send the length of the body.")
    if len(declared.lstrip("0")) > 18 or int(declared) > most:
        raise answers.too_large(most)
