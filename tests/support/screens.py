"""A terminal that is only looked at: what a program writes to it becomes the lines that a person would see."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len

ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Seen:
    """The lines of a screen that never scrolls away, and whether its cursor shows. Takes what rich sends; all else fails."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self.cursor = True
        self._rest = ""

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines)

    def feed(self, text: str) -> None:
        text, at = self._rest + text, 0
        self._rest = ""
        while at < len(text):
            if text[at] != "\x1b":
                self._put(text[at])
                at += 1
            elif found := ESCAPE.match(text, at):
                if found[2]:
                    self._obey(found[1], found[2])
                at = found.end()
            else:
                assert len(text) - at < 40, f"a sequence that nobody knows: {text[at : at + 40]!r}"
                self._rest = text[at:]
                return

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif size := cell_len(character):
            if self.column + size > self.width:
                self.column = 0
                self._down()
            line = self.lines[self.row]
            line.extend(" " * (self.column + size - len(line)))
            line[self.column : self.column + size] = [character, *[""] * (size - 1)]
            self.column += size

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def _obey(self, number: str, letter: str) -> None:
        if letter == "A":
            self.row = max(0, self.row - int(number or 1))
        elif letter == "K":
            self.lines[self.row] = []
        elif letter in "hl" and number == "?25":
            self.cursor = letter == "h"
        else:
            assert letter == "m", f"a movement that nobody expects: {number}{letter}"


class OnScreen:
    """A command in a terminal of its own."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], width: int = 80, height: int = 24
    ) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.seen = Seen(width)
        self.raw = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=given | {"TERM": "xterm-256color"} | environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        import codecs

        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody has the other end open
                return
            text = decode(data)
            self.raw += text
            self.seen.feed(text)

    def until(self, shown: Callable[[str], bool], seconds: float = 120) -> str:
        """The screen, once it shows this."""
        deadline = time.monotonic() + seconds
        while not shown(self.seen.text):
            assert self.process.poll() is None and time.monotonic() < deadline, self.seen.text
            time.sleep(0.02)
        return self.seen.text

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """The exit code, and the screen as it stays."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        os.close(self._master)
        return code, self.seen.text


def contender(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "deployments.cli", *arguments]
