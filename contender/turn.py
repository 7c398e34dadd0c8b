"""One at a time on this machine: kernel locks on files, so that whoever dies lets go at once.

They save money and tempers: two trainings of the same rows, or two on one GPU. What is live is protected by create-only alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress

from contender.machine import cache_folder
from contender.records import Record, digest
from contender.run import Run, now

log = logging.getLogger(__name__)


class Holder(Record):
    """Who holds a lock, for those who wait; `lease` is what a crashed one may have left elsewhere."""

    pid: int
    since: str
    flow_run_id: str | None = None
    lease: str | None = None

    @property
    def sentence(self) -> str:
        flow_run = f", flow run {self.flow_run_id}" if self.flow_run_id else ""
        return f"process {self.pid}{flow_run}, since {self.since[:16].replace('T', ' ')} UTC"


def pipeline_lock(run: Run) -> Lock:
    """One run of a pipeline at a time: the same registry and name, from whatever folder it is started."""
    return Lock(f"pipeline-{digest([run.registry.url, run.pipeline.spec.name])[:32]}")


def look_lock(run: Run) -> Lock:
    """One look for new data of a pipeline at a time."""
    return Lock(f"look-{digest([run.registry.url, run.pipeline.spec.name])[:32]}")


class Lock:
    """A lock of this user on this machine. `before` is what its last holder left, None where that one ended well."""

    def __init__(self, name: str) -> None:
        self.path = cache_folder() / "locks" / f"{name}.lock"
        self.before: Holder | None = None
        self._handle: int | None = None

    def take(self) -> bool:
        """Whether it is ours now; never waits. True also where no lock can be kept: a run is worth more than its turn."""
        while True:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                log.warning("no lock can be kept in %s: %s", self.path.parent, error.strerror)
                return True
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            with suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == self.path.stat().st_ino:
                    self._handle = handle
                    self.before = self.holder()
                    return True
            os.close(handle)  # the file was removed meanwhile, and a lock on it keeps nobody out

    def holder(self) -> Holder | None:
        """Who signed it last; None where nobody did, or is writing just now."""
        try:
            return Holder.from_bytes(self.path.read_bytes())
        except (OSError, ValueError):
            return None

    def sign(self, flow_run_id: str | None = None, lease: str | None = None) -> None:
        """Says who holds it, once it is taken."""
        if self._handle is None:
            return
        signed = Holder(pid=os.getpid(), since=now(), flow_run_id=flow_run_id, lease=lease)
        with suppress(OSError):  # a full disk: it is held all the same
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, signed.to_bytes(), 0)

    def release(self) -> None:
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
