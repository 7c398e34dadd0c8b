"""The parts of `contender up PIPELINE…`: processes that are started, started again where they die, and ended together.

A part is the leader of a process group, so that Ctrl-C reaches this process alone and nothing that a part started outlives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contender.child import how_it_ended
from deployments.home import usable

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds before a part that keeps dying is started again
STEADY_SECONDS = 60.0  # one that lived so long counts as well: the next wait is the first again
GRACE_SECONDS = 60.0  # for checkpoints and open requests, when the stack ends
ORPHANED_SECONDS = 30.0  # the same, when this process was killed: nobody can be asked to wait then
LEFT_SECONDS = (
    20.0  # for what a dead part leaves behind: a flow that sees its worker's death writes a checkpoint and ends
)
LOG_BYTES = 5_000_000  # a longer log is moved to ….log.1 at the next start
LOOK_SECONDS = 0.1


@dataclass
class Part:
    """A module that runs as a process of its own; `arguments` and `before` are asked at each start."""

    name: str
    module: str
    log: Path
    environment: Mapping[str, str]
    lock: int  # a descriptor of the lock that all parts hold
    arguments: Callable[[], Sequence[str]] = tuple
    before: Callable[[], None] = lambda: None
    url: str = ""  # of one that listens
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0  # in a row
    restarts: int = 0
    why: str = ""  # how it ended the last time
    due: float = 0.0  # when it is started again
    _began: float = 0.0
    _group: int | None = None  # of a dead part, while something of it may live
    _pipe: int | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    def start(self) -> None:
        self.before()
        ours, held = os.pipe()
        line = [sys.executable, "-P", "-m", "deployments.held", str(ours), str(self.lock), str(ORPHANED_SECONDS)]
        try:
            with _log(self.log) as log:
                self.process = subprocess.Popen(
                    [*line, self.module, *self.arguments()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(ours, self.lock),
                    process_group=0,
                    env=dict(self.environment),
                )
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(ours)
        self._pipe, self._began = held, time.monotonic()

    def look(self) -> str | None:
        """Starts it where it is due; what there is to tell of it, None where it goes on as before."""
        now = time.monotonic()
        if self.process is not None:
            return self._died(now) if self.process.poll() is not None else None
        if now < self.due or self._leaves(now):
            return None
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, such as a server that does not answer: it is tried again
            return self._again(now, f"cannot be started: {next(iter(str(error).splitlines()), repr(error))}")
        self.restarts += 1
        return f"the {self.name} was started again (process {self.pid})"

    def _died(self, now: float) -> str:
        assert self.process
        self._group = self.process.pid
        if now - self._began > STEADY_SECONDS:
            self.deaths = 0
        code, self.process = self.process.returncode, None
        self._let_go()
        return self._again(now, how_it_ended(code))

    def _again(self, now: float, why: str) -> str:
        wait = WAITS[min(self.deaths, len(WAITS) - 1)]
        self.deaths, self.why, self.due = self.deaths + 1, why, now + wait
        return f"the {self.name} {why}; again in {wait:.0f} s. Its log: {self.log}"

    def _leaves(self, now: float) -> bool:
        """Whether something that a dead part started still lives; killed where it takes too long."""
        if self._group is None:
            return False
        late = now - self.due
        if late > LEFT_SECONDS:
            self.kill()
        # Processes that nobody reaps look alive for ever.
        if late > 2 * LEFT_SECONDS or not _lives(self._group):
            self._group = None
        return self._group is not None

    def ask(self) -> None:
        """Asks it to end."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and all that it started, at once."""
        group = self._group or (self.process.pid if self.process else None)
        if group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def close(self) -> None:
        """After its end: takes along whatever it left."""
        self.kill()
        if self.process:
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


@dataclass
class Stack:
    """All parts, in the order in which they start."""

    parts: list[Part]
    told: Callable[[str], None]

    def start(self) -> None:
        for part in self.parts:
            part.start()

    def look(self) -> None:
        for part in self.parts:
            if said := part.look():
                self.told(said)

    def end(self, idle: Callable[[], None], grace: float = GRACE_SECONDS) -> bool:
        """Asks all parts to end, and calls `idle` while they do; kills those that do not. Whether all ended by themselves."""
        for part in reversed(self.parts):  # the gateway first: nothing new comes in
            part.ask()
        deadline = time.monotonic() + grace
        while not all(part.ended() for part in self.parts) and time.monotonic() < deadline:
            idle()
            time.sleep(LOOK_SECONDS)
        late = [part.name for part in self.parts if not part.ended()]
        if late:
            self.told(f"killed after {grace:.0f} s: {', '.join(late)}")
        return not late

    def close(self) -> None:
        """Nothing of it is left then."""
        for part in self.parts:
            part.close()


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _log(path: Path) -> BinaryIO:
    with usable(path):
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_name(f"{path.name}.1"))
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
