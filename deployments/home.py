"""Where the background Prefect server keeps its files, and the two locks that say who lives. Stdlib only: the CLI loads it.

    <home>/server/          mode 0700
        alive.lock          held (flock) by the server from its birth to its death: the one truth about whether it runs
        clients.lock        held shared by every process that uses the server: a training run of hours makes no request
        server.json         url, pid, instance; written by the server, removed by it when it ends. alive.lock holds the same, so
                            that a running server is found and stopped though one of the two was deleted or damaged
        auth                user:password, mode 0600
        port                the last port, tried first, so that bookmarks and browser tabs keep working
        pages/              what runs point to, for the server to show: contender/pages.py
        server.log
    <home>/prefect/         PREFECT_HOME: its SQLite database

The kernel drops a lock with its process, however that dies. So a stale state file, a pid that another process has now, and two
first runs at once need no guessing. A file whose content cannot be one counts as absent and is made anew, where no running server
depends on it; what cannot be made is a ServerFailed that names it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from contender.errors import Terminal, UsageError

AUTH = re.compile(r"[!-9;-~]+:[!-~]+")  # what travels in a header as it is
URL = re.compile(r"http://127\.0\.0\.1:(\d{1,5})")


class ServerFailed(Terminal):
    """The background Prefect server did not start, or cannot be used or stopped."""


@dataclass(frozen=True)
class State:
    """What the running server says about itself."""

    url: str  # http://127.0.0.1:<port>, without a path
    pid: int
    instance: str  # random per start; the health check returns it, so that nothing else on that port is taken for it
    prefect: str  # its version

    @classmethod
    def read(cls, path: Path) -> State | None:
        """What a file says of a server; None where it says nothing that a server could have written."""
        try:
            found = cls(**json.loads(path.read_bytes()))
            texts = all(isinstance(text, str) for text in (found.url, found.instance, found.prefect))
            port = int(match[1]) if texts and (match := URL.fullmatch(found.url)) else 0
            return found if is_port(port) and found.instance and type(found.pid) is int and found.pid > 1 else None
        except (OSError, ValueError, TypeError):
            return None


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
    def pages(self) -> Path:
        return self.server / "pages"

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
        found = self.read_auth()
        if found is None or self.auth_file.stat().st_mode & 0o077:
            found = f"contender:{secrets.token_urlsafe(32)}"
            write_private(self.auth_file, found)
        return found

    def read_auth(self) -> str | None:
        """The `user:password` that was drawn; None where the file is lost or damaged."""
        try:
            found = self.auth_file.read_text()
        except (OSError, UnicodeDecodeError):
            return None
        return found if AUTH.fullmatch(found) else None

    def read_state(self) -> State | None:
        """What the server said of itself; None where no file holds it. Says nothing about whether that server lives."""
        return State.read(self.alive_lock) or State.read(self.state_file)

    def write_state(self, state: State) -> None:
        """For the server, which holds the lock."""
        self._write_lock(json.dumps(asdict(state)))
        write_private(self.state_file, json.dumps(asdict(state)))

    def forget_state(self) -> None:
        """So that nobody looks for a server that has ended, or is about to; for whoever holds the lock."""
        self._write_lock("")
        with usable(self.state_file):
            self.state_file.unlink(missing_ok=True)

    def _write_lock(self, text: str) -> None:
        # In place: a new file in its place would be another lock. Lost with it, the state is in server.json still.
        with suppress(OSError), self.alive_lock.open("r+") as stream:
            stream.truncate()
            stream.write(text)

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
    with usable(path):
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
    with usable(path):
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def is_port(number: int) -> bool:
    return 0 < number < 65536


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turns an error of the file system into ServerFailed, naming the file: a folder stands there, no space, no rights."""
    try:
        yield
    except OSError as error:
        raise ServerFailed(
            f"cannot use {path}, a file of the background Prefect server: {error.strerror}",
            "Move it away and run the same command: it is made anew. Where the disk is full or read-only, that comes first.",
        ) from error
