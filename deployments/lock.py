"""One `contender up PIPELINE…` per home: the lock that its process holds, and what it says about itself in it. Stdlib only.

    <home>/stack/           mode 0700
        up.lock             held by the process of `contender up` while it lives; its pid and pipelines stand in it
        parts.lock          held by its worker and its gateway: the next stack waits for those of one that was killed
        worker.log, gateway.log, gateway.port, deliveries.db

As with the server's, the kernel drops a lock with its process, so nothing here is ever guessed from a pid alone.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contender.errors import UsageError
from deployments.home import Home, ServerFailed, take_lock, usable

POOL = "contender-local"  # the work pool of a stack
POLL_SECONDS = 0.1
STOP_SECONDS = 90  # a stack waits a minute for checkpoints, and then for its server
GONE_SECONDS = 45  # parts of a stack that was killed end within their grace time


@dataclass(frozen=True)
class StackFiles:
    """The folder of one stack."""

    folder: Path

    @classmethod
    def of(cls, home: Path | None = None) -> StackFiles:
        return cls(Home.of(home).folder / "stack")

    @property
    def up_lock(self) -> Path:
        return self.folder / "up.lock"

    @property
    def parts_lock(self) -> Path:
        return self.folder / "parts.lock"

    @property
    def port(self) -> Path:
        return self.folder / "gateway.port"

    @property
    def journal(self) -> Path:
        return self.folder / "deliveries.db"

    def log(self, part: str) -> Path:
        return self.folder / f"{part}.log"

    @contextmanager
    def held(self, pipelines: list[str], told: Callable[[str], None] = lambda _: None) -> Iterator[int]:
        """Inside, this process is the stack; gives the descriptor of the lock for its parts. UsageError where another one is."""
        with usable(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        lock = self._alone()
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps({"pid": os.getpid(), "pipelines": pipelines}).encode(), 0)
            parts = self._parts(told)
            try:
                yield parts
            finally:
                os.close(parts)
        finally:
            os.ftruncate(lock, 0)
            os.close(lock)

    def _alone(self) -> int:
        deadline = time.monotonic() + 1  # who only looks whether a stack runs holds the lock for a moment, too
        while (lock := take_lock(self.up_lock)) is None:
            found = self.running()
            if found or time.monotonic() > deadline:
                who = f" (process {found[0]}: {', '.join(found[1])})" if found else ""
                raise UsageError(
                    f"another `contender up` of {self.folder.parent} runs{who}",
                    "End it by Ctrl-C where it runs, or: contender up --stop. CONTENDER_HOME names another home.",
                )
            time.sleep(POLL_SECONDS / 10)
        return lock

    def _parts(self, told: Callable[[str], None]) -> int:
        deadline = time.monotonic() + GONE_SECONDS
        if (lock := take_lock(self.parts_lock)) is not None:
            return lock
        told("parts of an earlier `contender up`, which was killed, are ending")
        while (lock := take_lock(self.parts_lock)) is None:
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"parts of an earlier `contender up` of {self.folder.parent} do not end",
                    "End the processes `deployments.held` by hand.",
                )
            time.sleep(POLL_SECONDS)
        return lock

    def running(self) -> tuple[int, list[str]] | None:
        """Pid and pipelines of the stack that runs; None where none does."""
        if not self.up_lock.exists():
            return None
        lock = take_lock(self.up_lock, shared=True)
        if lock is not None:
            os.close(lock)
            return None
        try:
            found = json.loads(self.up_lock.read_bytes())
            return int(found["pid"]), [str(name) for name in found["pipelines"]]
        except (OSError, ValueError, TypeError, KeyError):
            return None  # it took the lock a moment ago, or is just ending

    def stop(self, *, force: bool) -> int | None:
        """Asks the stack that runs to end, twice with `force`, and waits for it; its pid, None where none runs."""
        found = self.running()
        if found is None:
            return None
        pid, _ = found
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                if self.running() != found:  # it ended meanwhile, and the pid may be another's
                    return pid
                for _ in range(2 if force else 1):
                    signal.pidfd_send_signal(process, signal.SIGTERM)
                    time.sleep(POLL_SECONDS)
            finally:
                os.close(process)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running() == found:
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"`contender up` (process {pid}) has not ended within {STOP_SECONDS} s",
                    "To wait for no checkpoint: contender up --stop --force",
                )
            time.sleep(POLL_SECONDS)
        return pid
