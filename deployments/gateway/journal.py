"""Every delivery, on disk before it is answered: an SQLite file that one gateway writes, from one thread, many deliveries a commit.

A delivery is `received` until it is known what became of it. One that still is when the gateway starts had no answer: it is taken up
again. Bodies and secrets are not kept, only digests; of a mapped delivery the parameters, which the spec allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from contender.errors import Terminal, UsageError

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Any]

REMEMBERED = 86_400.0  # seconds in which the same delivery is a replay
KEPT = 30 * 86_400.0  # of accepted deliveries, to look up
KEPT_ROWS = 200_000  # beyond REMEMBERED
PRUNED_AT_ONCE = 2_000
AT_ONCE = 500  # deliveries in one commit
BUSY_SECONDS = 2.0
RECEIVED, ACCEPTED, IGNORED = "received", "accepted", "ignored"
COUNTS = (
    RECEIVED,
    ACCEPTED,
    IGNORED,
)  # results after which the same delivery is a replay; what failed may be sent again

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    scheme TEXT NOT NULL,
    received REAL NOT NULL,
    body BLOB NOT NULL,
    same BLOB NOT NULL,
    parameters TEXT NOT NULL,
    result TEXT NOT NULL,
    replay INTEGER NOT NULL DEFAULT 0,
    flow_run_id TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_same ON deliveries (pipeline, same, received);
CREATE INDEX IF NOT EXISTS deliveries_received ON deliveries (received);
CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (n) WHERE result = 'received';
"""


class JournalFailed(Terminal):
    """The journal cannot be written: no delivery is taken until it can."""


@dataclass(frozen=True)
class Entry:
    """One delivery. `same` is what two deliveries have in common where one is a replay of the other."""

    pipeline: str
    scheme: str
    body: bytes
    same: bytes
    parameters: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"d-{secrets.token_hex(8)}")
    received: float = field(default_factory=lambda: time.time())
    result: str = RECEIVED
    replay: bool = False
    flow_run_id: str | None = None


class Journal:
    """An open journal. Its methods return when what they did is on disk, and raise JournalFailed where it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = _private_file(self.path.with_name(f"{self.path.name}.lock"), self.path)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(_private_file(self.path, self.path))
            self._connection = self._open()
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(
                f"another gateway writes the journal {self.path}",
                "One process takes all deliveries: end the other one, or give this one a journal and pipelines of its own.",
            ) from None
        except sqlite3.Error as error:
            os.close(self._lock)
            raise UsageError(
                f"{self.path} cannot be used as a journal: {error}",
                "Move it away, with its -wal and -shm files, and start again: it is made anew, and forgets what was delivered.",
            ) from error
        self._inode = self.path.stat().st_ino
        self._jobs: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # WAL's default loses what a power cut finds in memory
        connection.executescript(SCHEMA)
        return connection

    def close(self) -> None:
        """After all that was asked for is done."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()
        os.close(self._lock)

    async def receive(self, entry: Entry) -> Entry | None:
        """Writes a delivery down; or gives the one that it is a replay of, and writes nothing."""

        def work(connection: sqlite3.Connection) -> Entry | None:
            marks = ",".join("?" * len(COUNTS))
            earlier = connection.execute(
                f"{SELECT} WHERE pipeline = ? AND same = ? AND received > ? AND result IN ({marks}) "
                "AND replay = 0 ORDER BY n DESC LIMIT 1",
                (entry.pipeline, entry.same, entry.received - REMEMBERED, *COUNTS),
            ).fetchone()
            if earlier is None:
                _insert(connection, entry)
            return None if earlier is None else _entry(earlier)

        found: Entry | None = await self._done(work)
        return found

    async def add(self, entry: Entry) -> None:
        """Writes a delivery down whose result is known."""
        await self._done(lambda connection: _insert(connection, entry))

    async def settle(self, delivery: str, result: str, flow_run_id: str | None = None) -> None:
        """What became of a delivery."""
        values = (result, flow_run_id, delivery)
        sql = "UPDATE deliveries SET result = ?, flow_run_id = ? WHERE id = ?"
        await self._done(lambda connection: connection.execute(sql, values))

    async def unsettled(self) -> list[Entry]:
        """Deliveries that never came to a result, oldest first."""
        sql = f"{SELECT} WHERE result = '{RECEIVED}' ORDER BY n"
        rows: list[tuple[Any, ...]] = await self._done(lambda connection: connection.execute(sql).fetchall())
        return [_entry(row) for row in rows]

    async def check(self) -> None:
        """Writes, so that a full or read-only disk shows."""
        await self._done(lambda connection: connection.execute("PRAGMA user_version = 1"))

    async def prune(self) -> int:
        """Removes some of what is neither needed against replays nor kept to look up; the number of them."""
        now = time.time()

        def work(connection: sqlite3.Connection) -> int:
            (rows,) = connection.execute("SELECT count(*) FROM deliveries").fetchone()
            return connection.execute(
                "DELETE FROM deliveries WHERE n IN (SELECT n FROM deliveries WHERE received < ? AND result != ? "
                "AND (received < ? OR result != ? OR ? > ?) ORDER BY received LIMIT ?)",
                (now - REMEMBERED - 3600, RECEIVED, now - KEPT, ACCEPTED, rows, KEPT_ROWS, PRUNED_AT_ONCE),
            ).rowcount

        return int(await self._done(work))

    def size(self) -> int:
        """Bytes on disk."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    async def _done(self, work: Work) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return await future

    def _write(self) -> None:
        """The writing thread: all that has been asked for since the last commit goes into the next one."""
        ended = False
        while not ended:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < AT_ONCE:
                    jobs.append(self._jobs.get_nowait())
            ended = None in jobs
            batch = [job for job in jobs if job is not None]
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        try:
            if not self.path.exists() or self.path.stat().st_ino != self._inode:
                raise sqlite3.OperationalError("the file was taken away; start the gateway again")
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work(self._connection) for work, _ in batch]
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for _, future in batch:
                _tell(future, JournalFailed(f"the journal {self.path} cannot be written: {error}"))
            return
        for (_, future), result in zip(batch, results, strict=True):
            _tell(future, result)


def _tell(future: asyncio.Future[Any], result: Any) -> None:
    """Hands a result to the event loop, where somebody still waits for it."""

    def tell() -> None:
        if future.done():
            return
        if isinstance(result, JournalFailed):
            future.set_exception(result)
        else:
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop has ended
        future.get_loop().call_soon_threadsafe(tell)


COLUMNS = "pipeline, scheme, body, same, parameters, id, received, result, replay, flow_run_id"
SELECT = f"SELECT {COLUMNS} FROM deliveries"


def _insert(connection: sqlite3.Connection, entry: Entry) -> None:
    values = (entry.pipeline, entry.scheme, entry.body, entry.same, json.dumps(entry.parameters), entry.id)
    more = (entry.received, entry.result, entry.replay, entry.flow_run_id)
    connection.execute(f"INSERT INTO deliveries ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values + more)


def _entry(row: tuple[Any, ...]) -> Entry:
    pipeline, scheme, body, same, parameters, delivery, received, result, replay, flow_run_id = row
    return Entry(
        pipeline, scheme, body, same, json.loads(parameters), delivery, received, result, bool(replay), flow_run_id
    )


def _private_file(path: Path, journal: Path) -> int:
    """An open file that only its owner reads; SQLite gives its side files the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(handle, 0o600)
    except OSError as error:
        raise UsageError(
            f"cannot keep a journal at {journal}: {error.strerror}", "Give a file in a folder that you own."
        ) from error
    return handle
