"""What was answered with 202 is on disk, what is not can be sent again, and a gateway that died leaves nothing half done."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gateways import MemoryPrefect, a_pipeline, basic, gateway

from contender.errors import UsageError
from deployments.gateway import journal as journal_module
from deployments.gateway.journal import ACCEPTED, KEPT, REMEMBERED, Entry, Journal, JournalFailed

pytestmark = pytest.mark.usefixtures("prefect_named")
SECRET_BODY = b'{"password": "in the body"}'


def rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as opened:
        return opened.execute(f"SELECT {columns} FROM deliveries ORDER BY n").fetchall()


def entry(number: int = 0, **more: Any) -> Entry:
    key = number.to_bytes(4, "big")
    return Entry("one", "basic", key, key, **more)


def using(path: Path, body: Callable[[Journal], Awaitable[Any]]) -> Any:
    journal = Journal(path)
    try:
        return asyncio.run(body(journal))  # type: ignore[arg-type]
    finally:
        journal.close()


def test_a_delivery_is_kept_without_its_body_and_secrets_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one"))
    with gateway(prefect, path) as client:
        said = client.post("/hooks/one", content=SECRET_BODY, headers=basic()).json()
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    ((delivery, pipeline, scheme, result, run),) = rows(path, "id, pipeline, scheme, result, flow_run_id")
    assert (delivery, run) == (said["delivery"], said["flow_run_id"])
    assert (pipeline, scheme, result) == ("one", "basic", ACCEPTED)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"in the body" not in written and b"sender" not in written
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_existing_journal_is_closed_to_others(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").close()
    (tmp_path / "journal.db").chmod(0o644)
    Journal(tmp_path / "journal.db").close()
    assert stat.S_IMODE((tmp_path / "journal.db").stat().st_mode) == 0o600


def test_many_deliveries_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = []
    real = Journal._commit
    monkeypatch.setattr(Journal, "_commit", lambda self, batch: commits.append(len(batch)) or real(self, batch))

    async def body(journal: Journal) -> None:
        assert await asyncio.gather(*(journal.receive(entry(n)) for n in range(200))) == [None] * 200

    using(tmp_path / "journal.db", body)
    assert sum(commits) == 200 and len(commits) < 50
    assert len(rows(tmp_path / "journal.db")) == 200


def test_what_is_written_is_synchronised_before_it_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    journal.close()


def test_two_gateways_do_not_share_a_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.db")
    with pytest.raises(UsageError, match="another gateway"):
        Journal(tmp_path / "journal.db")
    first.close()
    Journal(tmp_path / "journal.db").close()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 20, None])
def test_what_is_no_journal_is_named_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(UsageError, match=r"journal\.db"):
        Journal(path)
    assert path.is_dir() or path.read_bytes() == content


def test_a_journal_that_another_program_locks_refuses_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "BUSY_SECONDS", 0.1)
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = client.post("/hooks/one", content=b"1", headers=basic())
            assert answer.status_code == 503 and "journal" in answer.text and str(tmp_path) not in answer.text
            assert client.get("/readyz").status_code == 503
        assert not prefect.runs
        assert client.post("/hooks/one", content=b"1", headers=basic()).status_code == 202
        assert client.get("/readyz").status_code == 200


def test_a_journal_that_fails_after_the_run_was_created_refuses_and_the_next_attempt_finds_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "settle", failing)
            assert client.post("/hooks/one", content=b"1", headers=basic()).status_code == 503
        prefect.begin_all()
        answer = client.post("/hooks/one", content=b"1", headers=basic())
        assert answer.status_code == 202 and answer.json()["flow_run_id"] == str(prefect.runs[0].id)
        assert prefect.created == 1 and answer.json()["replay"] is False


async def failing(*_: Any) -> None:
    raise JournalFailed("database or disk is full")


def test_a_journal_that_is_taken_away_takes_no_delivery(tmp_path: Path) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        (tmp_path / "journal.db").rename(tmp_path / "elsewhere.db")
        assert client.post("/hooks/one", content=b"1", headers=basic()).status_code == 503
        assert client.get("/readyz").status_code == 503 and not prefect.runs


def test_a_full_disk_takes_no_delivery_until_there_is_room(tmp_path: Path) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        connection = client.app.state.gate.journal._connection  # type: ignore[attr-defined]
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        codes = [client.post("/hooks/one", content=str(n).encode(), headers=basic()).status_code for n in range(100)]
        assert set(codes) == {202, 503} and codes[-1] == 503
        connection.execute("PRAGMA max_page_count = 100000")
        assert client.post("/hooks/one", content=b"99", headers=basic()).status_code == 202
    accepted = [one for one in rows(tmp_path / "journal.db", "result") if one == (ACCEPTED,)]
    assert len(accepted) == codes.count(202) + 1


def test_deliveries_that_had_no_answer_get_their_run_at_the_next_start(tmp_path: Path) -> None:
    """Killed between the journal and the creation; another was killed between the creation and the journal."""
    prefect = MemoryPrefect(
        a_pipeline(tmp_path, "one"),
        a_pipeline(tmp_path, "two"),
        a_pipeline(tmp_path, "three", map={"train.epochs": "e"}),
    )
    left = [
        Entry("one", "basic", b"1", b"1"),
        Entry("two", "basic", b"2", b"2"),
        Entry("two", "basic", b"3", b"3"),
        Entry("three", "basic", b"4", b"4", parameters={"train.epochs": 2}),
        Entry("gone", "basic", b"5", b"5"),
    ]

    async def receive(journal: Journal) -> None:
        for one in left:
            await journal.receive(one)

    using(tmp_path / "journal.db", receive)
    begun = prefect.add_run("two", "Running", idempotency_key=f"two:hook:{left[1].id}")
    with gateway(prefect, tmp_path / "journal.db"):
        until(lambda: not [row for row in rows(tmp_path / "journal.db", "result") if row == ("received",)])
    found = {body: (result, run) for body, result, run in rows(tmp_path / "journal.db", "body, result, flow_run_id")}
    (one,) = prefect.waiting("one")
    (two,) = prefect.waiting("two")
    (three,) = prefect.waiting("three")
    assert one.idempotency_key == f"one:hook:{left[0].id}"
    assert three.parameters["spec"]["spec"]["train"]["epochs"] == 2
    assert found == {
        b"1": (ACCEPTED, str(one.id)),
        b"2": (ACCEPTED, str(begun.id)),
        b"3": (ACCEPTED, str(two.id)),
        b"4": (ACCEPTED, str(three.id)),
        b"5": ("dropped", None),
    }


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_old_deliveries_are_removed_and_what_guards_against_replays_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    ages = {"new": 0.0, "replayable": REMEMBERED - 60, "looked up": KEPT - 60, "old": KEPT + 60}

    async def body(journal: Journal) -> None:
        for number, age in enumerate(ages.values()):
            await journal.add(entry(number, received=now - age, result=ACCEPTED))
            await journal.add(entry(100 + number, received=now - age, result="failed"))
        assert await journal.prune() == 3
        monkeypatch.setattr(journal_module, "KEPT_ROWS", 1)
        assert await journal.prune() == 1

    using(tmp_path / "journal.db", body)
    left = [(int.from_bytes(body), result) for body, result in rows(tmp_path / "journal.db", "body, result")]
    assert left == [(0, ACCEPTED), (100, "failed"), (1, ACCEPTED), (101, "failed")]


def test_a_journal_can_be_closed_while_deliveries_are_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    async def body() -> None:
        writing = [asyncio.ensure_future(journal.receive(entry(n))) for n in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(journal.close)
        assert await asyncio.gather(*writing) == [None] * 50

    asyncio.run(body())
    assert len(rows(tmp_path / "journal.db")) == 50 and "journal" not in {one.name for one in threading.enumerate()}
