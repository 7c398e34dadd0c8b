"""What a child process prints, line by line while it works: libraries warn there. A child that prints without end fills nobody's log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import IO

LINES = 200  # of one child
LINE_BYTES = 2_000
MOST_BYTES = 4 << 20  # that are read of one child's output: one line may have no end
LOOK_SECONDS = 1.0
READ_BYTES = 1 << 16


class Printed:
    """Hands on what is added to `stream`, the file that a child's output goes to, at most so many lines; `told` gets each.

    Nothing is read of what lies behind those. The stream's own position is the child's, and is left alone.
    """

    def __init__(self, stream: IO[bytes], told: Callable[[str], None]) -> None:
        self._descriptor = stream.fileno()
        self._told = told
        self._at = self._first = os.fstat(self._descriptor).st_size
        self._begun = b""  # of a line whose end is not there yet
        self._left = LINES
        self._due = 0.0

    def look(self) -> None:
        """Tells the whole lines that were added; looks once in a while, however often it is called."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_SECONDS
            self._read()

    def end(self) -> None:
        """Tells the rest, once the child is gone."""
        self._read()
        self._line(self._begun)
        self._begun = b""

    def _read(self) -> None:
        while self._left > 0 and (found := os.pread(self._descriptor, READ_BYTES, self._at)):
            self._at += len(found)
            *whole, self._begun = (self._begun + found).split(b"\n")
            self._begun = self._begun[: 2 * LINE_BYTES]
            for line in whole:
                self._line(line)
            if self._at - self._first > MOST_BYTES:
                self._stop()

    def _line(self, line: bytes) -> None:
        text = (
            line.rstrip().rpartition(b"\r")[2][:LINE_BYTES].decode(errors="replace").strip()
        )  # of a bar, how it ended
        if not text or self._left <= 0:
            return
        self._told(text)
        self._left -= 1
        if self._left == 0:
            self._stop()

    def _stop(self) -> None:
        self._left = 0
        self._begun = b""
        self._told("(it printed more, which is not shown here)")
