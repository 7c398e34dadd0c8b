"""Where the background Prefect server keeps its files, and the two locks that say who lives. Stdlib only: the CLI loads it.

    <home>/server/          mode 0700
        alive.lock          held (flock) by the server from its birth to its death: the one truth about whether it runs
        clients.lock        held shared by every process that uses the server: a training run of hours makes no request
        server.json         url, pid, instance; written by the server, removed by it when it ends
        auth                user:password, mode 0600
        port                the last port, tried first, so that bookmarks and browser tabs keep working
        server.log
    <home>/prefect/         PREFECT_HOME: its SQLite database

The kernel drops a lock with its process, however that dies. So a stale state file, a pid that another process has now, and two
first runs at once need no guessing.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from contender.errors import UsageError


@dataclass(frozen=True)
class State:
    """What the running server says about itself."""

    url: str  # http://127.0.0.1:<port>, without a path
    pid: int
    instance: str  # random per start; the health check returns it, so that nothing else on that port is taken for it
    prefect: str  # its version


@dataclass(frozen=True)
class Home:
    """The files of one background server."""

    folder: Path

    @classmethod
    def of(cls, folder: Path | None = None) -> Home:
        """`folder`, else `CONTENDER_HOME`, else ~/.contender."""
        return cls((folder or Path(os.environ.get("CONTENDER_HOME") or "~/.contender")).expanduser().absolute())

    @property
    def server(self) -> Path:
        return self.folder / "server"

    @property
    def prefect(self) -> Path:
        return self.folder / "prefect"

    @property
    def alive_lock(self) -> Path:
        return self.server / "alive.lock"

    @property
    def clients_lock(self) -> Path:
        return self.server / "clients.lock"

    @property
    def state_file(self) -> Path:
        return self.server / "server.json"

    @property
    def auth_file(self) -> Path:
        return self.server / "auth"

    @property
    def port_file(self) -> Path:
        return self.server / "port"

    @property
    def log_file(self) -> Path:
        return self.server / "server.log"

    def prepare(self) -> None:
        """Makes the folders, for their owner alone; UsageError where that is impossible."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.server, self.prefect):
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise UsageError(
                f"cannot keep the Prefect server's files in {self.folder}: {error.strerror}",
                "Set CONTENDER_HOME to a folder that you own, or PREFECT_API_URL to a Prefect server that runs.",
            ) from error

    def auth(self) -> str:
        """The server's `user:password`, drawn once; kept over restarts, so that a run survives its server's restart."""
        try:
            found = self.auth_file.read_text()
        except FileNotFoundError:
            found = ""
        if not found or self.auth_file.stat().st_mode & 0o077:
            found = f"contender:{secrets.token_urlsafe(32)}"
            write_private(self.auth_file, found)
        return found

    def read_state(self) -> State | None:
        """What the state file says; None where it is absent or not ours. Says nothing about whether that server lives."""
        try:
            return State(**json.loads(self.state_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write_state(self, state: State) -> None:
        write_private(self.state_file, json.dumps(asdict(state)))

    def is_alive(self) -> bool:
        """Whether a server process holds the lock; it may still be starting."""
        if not self.alive_lock.exists():
            return False
        lock = take_lock(self.alive_lock, shared=True)
        if lock is not None:
            os.close(lock)
        return lock is None


def take_lock(path: Path, *, shared: bool = False) -> int | None:
    """An open file descriptor that holds the lock until it is closed everywhere, or None where another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def write_private(path: Path, text: str) -> None:
    """Replaces a file as a whole; nobody but the owner can read it at any moment."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    temporary.replace(path)
