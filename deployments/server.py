"""The embedded default: one Prefect server in the background, shared by every run of this user. Stdlib only.

The first run starts it, later runs find it, it ends itself after idle minutes or by `stop_server`. `deployments/serve.py` is the
process; `deployments/home.py` says how its life is told from its files.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from deployments.environment import chosen_api, client_settings, server_environment
from deployments.guard import HEALTH, SIGN_IN
from deployments.home import Home, ServerFailed, State, is_port, take_lock, usable

__all__ = [
    "ServerFailed",
    "ServerInfo",
    "ServerStatus",
    "chosen_api",
    "client_environment",
    "ensure_server",
    "in_use",
    "leave_server",
    "server_status",
    "sign_in_url",
    "stop_server",
    "wait_until_ready",
]

START_SECONDS = 90  # a first start creates the database, on a slow disk; a warm one takes 4 s
STOP_SECONDS = 15
POLL_SECONDS = 0.05
START_LINE = "--- start"
LOG_BYTES = 1_000_000  # a longer log is moved to server.log.1 at the next start


@dataclass(frozen=True)
class ServerInfo:
    """A background server: how to reach it, and whether this call started it."""

    url: str  # of the API, as PREFECT_API_URL wants it
    ui_url: str
    pid: int
    auth_file: Path
    started: bool
    instance: str
    home: Path


@dataclass(frozen=True)
class ServerStatus:
    """What can be said of the background server without changing anything."""

    running: bool
    healthy: bool = False
    url: str | None = None
    pid: int | None = None
    prefect: str | None = None
    log_file: Path | None = None


def ensure_server(home: Path | None = None, idle_minutes: float = 30, *, wait: bool = True) -> ServerInfo:
    """The running background server, or a new one. This process counts as its client until it ends: the server stays.

    With `wait=False` a server just started may not answer yet (its socket already queues requests), so that imports can go on
    meanwhile; call `wait_until_ready` before relying on it. Raises ServerFailed with the last lines of its log.
    """
    place = Home.of(home)
    place.prepare()
    deadline = time.monotonic() + START_SECONDS
    while True:
        _become_client(place, deadline)
        alive = take_lock(place.alive_lock)
        if alive is not None:
            info = _start(place, alive, idle_minutes)
            if wait:
                wait_until_ready(info)
            return info
        state = place.read_state()
        if state is not None and _answers(state.url, state.instance):
            return _info(place, state, started=False)
        if time.monotonic() > deadline:
            raise _failed(place, f"a Prefect server holds {place.alive_lock} but does not answer")
        time.sleep(POLL_SECONDS)


def wait_until_ready(info: ServerInfo) -> None:
    """Returns when the server answers; raises ServerFailed with the last lines of its log where it died or hangs."""
    place = Home(info.home)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(info.ui_url, info.instance):
        if not place.is_alive():
            raise _died(place)
        if time.monotonic() > deadline:
            raise _failed(place, f"the background Prefect server did not answer within {START_SECONDS} s")
        time.sleep(POLL_SECONDS)


def stop_server(home: Path | None = None) -> bool:
    """Ends the background server, whoever uses it; False where none runs."""
    place = Home.of(home)
    if not place.is_alive():
        return False
    deadline = time.monotonic() + STOP_SECONDS
    state = place.read_state()
    while state is None and place.is_alive() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)  # it was born a moment ago and has not said its name yet
        state = place.read_state()
    if state is None:
        if not place.is_alive():
            return True  # it was about to end
        raise ServerFailed(
            f"a Prefect server holds {place.alive_lock}, and no file says which process it is",
            f"End the process `deployments.serve {place.folder}` by hand.",
        )
    if _signal(state, signal.SIGTERM) and not _gone(place, deadline):
        _signal(state, signal.SIGKILL)
    if not _gone(place, time.monotonic() + 5):
        raise ServerFailed(f"the Prefect server of {place.folder} does not end", f"End process {state.pid} by hand.")
    return True


def leave_server(home: Path | None = None) -> bool:
    """This process is no client any more, and the server ends where nobody else is one; whether it did."""
    place = Home.of(home)
    mine = _client_locks.pop(place.clients_lock, None)
    if mine is not None:
        os.close(mine)
    alone = take_lock(
        place.clients_lock
    )  # kept meanwhile: whoever wants to become a client waits, and starts a new server
    if alone is None:
        return False
    try:
        return stop_server(home)
    finally:
        os.close(alone)


def in_use(home: Path | None = None) -> bool:
    """Whether a process that uses the background server lives, a run for example; this one counts if it does."""
    place = Home.of(home)
    if not place.clients_lock.exists():
        return False
    # Alone: nobody's. Not even shared: an idle server holds it, which ends and lets nobody in.
    lock = take_lock(place.clients_lock)
    used = lock is None and (lock := take_lock(place.clients_lock, shared=True)) is not None
    if lock is not None:
        os.close(lock)
    return used


def server_status(home: Path | None = None) -> ServerStatus:
    """Whether a background server runs, and where; starts nothing, and makes no folder."""
    place = Home.of(home)
    state = place.read_state()
    if not place.is_alive():
        return ServerStatus(running=False)
    if state is None:
        return ServerStatus(running=True, log_file=place.log_file)
    healthy = _answers(state.url, state.instance)
    return ServerStatus(True, healthy, f"{state.url}/api", state.pid, state.prefect, place.log_file)


def client_environment(info: ServerInfo) -> dict[str, str]:
    """What a flow process needs in its environment, before it imports prefect, to work with this server."""
    return client_settings(info.url, _secret(info), Home(info.home).prefect, Home(info.home).pages)


def sign_in_url(info: ServerInfo) -> str:
    """A link that opens the UI signed in. The secret is in the fragment, which a browser never sends; show it to its owner only."""
    return f"{info.ui_url}{SIGN_IN}#{_secret(info)}"


def _secret(info: ServerInfo) -> str:
    found = Home(info.home).read_auth()
    if found is None:  # the server has it in memory: another one would not open it
        raise ServerFailed(
            f"{info.auth_file} no longer holds the auth string of the Prefect server that runs",
            "Run: contender up --stop, and the same command again: the next server draws a new one.",
        )
    return found


_client_locks: dict[Path, int] = {}  # held until this process ends


def _become_client(place: Home, deadline: float) -> None:
    """Holds the shared lock that keeps an idle server from ending; waits while one is just about to end."""
    while place.clients_lock not in _client_locks:
        lock = take_lock(place.clients_lock, shared=True)
        if lock is not None:
            _client_locks[place.clients_lock] = lock
        elif time.monotonic() > deadline:
            raise _failed(place, "the Prefect server that was ending has not ended")
        else:
            time.sleep(POLL_SECONDS)


def _start(place: Home, alive: int, idle_minutes: float) -> ServerInfo:
    """Starts the server process with the lock and a listening socket that this process took for it."""
    instance = os.urandom(8).hex()
    try:
        place.forget_state()
        place.auth()
        with _listen(place) as listener, _open_log(place, instance) as log:
            listener_fd = listener.fileno()
            arguments = [str(place.folder), instance, str(listener_fd), str(alive), str(idle_minutes)]
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deployments.serve", *arguments],
                env=server_environment(os.environ),
                cwd=place.server,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener_fd, alive),
                start_new_session=True,  # the terminal that started it may close
            )
            port = listener.getsockname()[1]
    finally:
        os.close(alive)
    process.returncode = 0  # ours to start, not to reap: no ResourceWarning when this process ends before it
    state = State(f"http://127.0.0.1:{port}", process.pid, instance, prefect="")
    return _info(place, state, started=True)


def _listen(place: Home) -> socket.socket:
    """A socket on loopback, on the last port where that is free."""
    try:
        last = int(place.port_file.read_text())
    except (OSError, ValueError):
        last = 0
    try:
        listener = socket.create_server(("127.0.0.1", last if is_port(last) else 0), backlog=128)
    except OSError:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    with contextlib.suppress(OSError):  # a bookmark is lost, no more
        place.port_file.write_text(str(listener.getsockname()[1]))
    return listener


def _open_log(place: Home, instance: str) -> BinaryIO:
    """The log, to be appended to; each start begins with a line that names it."""
    with usable(place.log_file):
        with contextlib.suppress(FileNotFoundError):
            if place.log_file.stat().st_size > LOG_BYTES:
                place.log_file.replace(place.log_file.with_name("server.log.1"))
        log = os.fdopen(os.open(place.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
        log.write(f"{START_LINE} {instance}\n".encode())
        log.flush()
        return log


def _info(place: Home, state: State, *, started: bool) -> ServerInfo:
    return ServerInfo(f"{state.url}/api", state.url, state.pid, place.auth_file, started, state.instance, place.folder)


def _answers(url: str, instance: str, seconds: float = 2) -> bool:
    """Whether that very server answers; whatever else sits on its port is not it."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port or 80, timeout=seconds)
    try:
        connection.request("GET", HEALTH)
        answer = connection.getresponse()
        return answer.status == 200 and json.loads(answer.read()).get("instance") == instance
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal(state: State, number: signal.Signals) -> bool:
    """Sends a signal if that pid still is the server that the state file names."""
    import psutil  # type: ignore[import-untyped]

    try:
        process = psutil.Process(state.pid)
        if state.instance not in process.cmdline():
            return False
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


def _gone(place: Home, deadline: float) -> bool:
    while place.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _died(place: Home) -> ServerFailed:
    """Why a server ended while it started: its database is damaged, or what its log says."""
    database = place.prefect / "prefect.db"
    fault = _database_fault(database)
    if not fault:
        return _failed(place, "the background Prefect server ended while it started")
    return ServerFailed(
        f"the Prefect server's database {database} is damaged: {fault}",
        f"Move it away, with prefect.db-wal and prefect.db-shm where they are there, and run the same command. It holds the history "
        f"of runs that the Prefect UI shows, no model and no decision. The whole log: {place.log_file}",
    )


def _database_fault(database: Path) -> str:
    """What SQLite finds wrong with the file; empty where it is whole, absent, or in use."""
    import sqlite3

    if not database.exists():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True)) as opened:
            (found,) = opened.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) else str(error)
    return "" if found == "ok" else str(found)


def _failed(place: Home, what: str) -> ServerFailed:
    return ServerFailed(f"{what}. {_last_lines(place)}", f"The whole log: {place.log_file}")


def _last_lines(place: Home, count: int = 12) -> str:
    """The last lines that the last start left in the log."""
    try:
        text = place.log_file.read_text(errors="replace")
    except OSError:
        return "It left no log."
    lines = text.rpartition(START_LINE)[2].splitlines()[1:]
    return "Its last words:\n" + "\n".join(lines[-count:]) if lines else "It left nothing in its log."
