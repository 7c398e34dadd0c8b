"""The same delivery again never starts a run: within 24 hours, and across restarts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gateways import SECRETS, MemoryPrefect, a_pipeline, gateway, github, request_of, standard
from starlette.testclient import TestClient

from deployments.gateway import delivery, journal

pytestmark = pytest.mark.usefixtures("prefect_named")
BODY = b'{"ref": "refs/heads/main"}'


def post(client: TestClient, body: bytes = BODY, **headers: str) -> httpx.Response:
    path, known = request_of("github", "one", body)
    return client.post(path, content=body, headers=known | headers)


@pytest.fixture
def prefect(tmp_path: Path) -> MemoryPrefect:
    return MemoryPrefect(a_pipeline(tmp_path, "one", "github"), a_pipeline(tmp_path, "std", "standard"))


@pytest.mark.parametrize("scheme", SECRETS)
def test_a_replay_joins_the_run_while_it_waits_and_starts_none_later(tmp_path: Path, scheme: str) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", scheme))
    path, headers = request_of(scheme, "one", BODY)
    with gateway(prefect, tmp_path / "journal.db") as client:
        first = client.post(path, content=BODY, headers=headers)
        again = client.post(path, content=BODY, headers=headers)
        assert again.status_code == 202 and again.json()["flow_run_id"] == first.json()["flow_run_id"]
        assert (again.json()["replay"], again.json()["joined"]) == (True, True)
        prefect.begin_all()
        late = client.post(path, content=BODY, headers=headers)
        assert late.status_code == 409 and late.json()["flow_run_id"] == first.json()["flow_run_id"]
        assert prefect.created == 1


def test_a_replay_is_known_after_a_restart(prefect: MemoryPrefect, tmp_path: Path) -> None:
    with gateway(prefect, tmp_path / "journal.db") as client:
        first = post(client).json()
    prefect.begin_all()
    with gateway(prefect, tmp_path / "journal.db") as client:
        late = post(client)
        assert late.status_code == 409 and late.json()["flow_run_id"] == first["flow_run_id"] and prefect.created == 1


def test_after_24_hours_the_same_body_is_a_new_delivery(
    prefect: MemoryPrefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway(prefect, tmp_path / "journal.db") as client:
        post(client)
        post(client)  # joins, and does not make the day longer
        prefect.begin_all()
        now = time.time()
        for hours, status in [(23.9, 409), (24.1, 202)]:
            monkeypatch.setattr(journal.time, "time", lambda hours=hours: now + hours * 3600)
            assert post(client).status_code == status


def test_the_same_body_for_another_pipeline_is_no_replay(tmp_path: Path) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", "github"), a_pipeline(tmp_path, "two", "github"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        codes = [
            client.post(f"/hooks/{name}", content=BODY, headers=github(BODY)).status_code for name in ("one", "two")
        ]
    assert codes == [202, 202] and prefect.created == 2


def test_the_signed_id_of_a_message_decides_and_not_its_body(prefect: MemoryPrefect, tmp_path: Path) -> None:
    with gateway(prefect, tmp_path / "journal.db") as client:
        assert client.post("/hooks/std", content=BODY, headers=standard(BODY, "a")).status_code == 202
        prefect.begin_all()
        assert client.post("/hooks/std", content=BODY, headers=standard(BODY, "b")).status_code == 202
        prefect.begin_all()
        resent = standard(BODY, "a", at=time.time() + 100)
        assert client.post("/hooks/std", content=BODY, headers=resent).status_code == 409


def test_many_replays_at_once_start_one_run(prefect: MemoryPrefect, tmp_path: Path) -> None:
    with gateway(prefect, tmp_path / "journal.db") as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(client), range(30)))
        assert {answer.status_code for answer in answers} == {202} and prefect.created == 1
        assert sum(not answer.json()["replay"] for answer in answers) == 1


def test_a_copy_of_a_delivery_that_comes_to_nothing_takes_its_place(prefect: MemoryPrefect, tmp_path: Path) -> None:
    """Its sender lost patience, and sent it again while the first was under way: that one must not make it a replay."""
    failing, sent = threading.Event(), threading.Event()

    def fail() -> None:
        prefect.before_create = lambda: None
        failing.set()
        raise KeyError("unforeseen")

    def after_read() -> None:
        if not failing.is_set():
            sent.wait(2)

    prefect.before_create, prefect.after_read = fail, after_read
    with gateway(prefect, tmp_path / "journal.db") as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client)
        while not prefect.asked:
            time.sleep(0.01)
        second = pool.submit(post, client)
        time.sleep(0.2)
        sent.set()
        assert first.result(10).status_code == 503
        assert second.result(10).status_code == 202 and prefect.created == 1


def test_a_ping_of_github_starts_nothing_and_its_body_cannot_come_back_as_a_push(
    prefect: MemoryPrefect, tmp_path: Path
) -> None:
    ping = b'{"zen": "Keep it logically awesome.", "hook_id": 1}'
    with gateway(prefect, tmp_path / "journal.db") as client:
        for _ in range(2):
            answer = post(client, ping, **{"x-github-event": "ping"})
            assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored", "pipeline": "one"})
        assert post(client, ping, **{"x-github-event": "push"}).status_code == 409
    assert not prefect.runs


def test_a_flood_of_replays_does_not_keep_the_true_sender_out(tmp_path: Path) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", "github", per_minute=20))
    with gateway(prefect, tmp_path / "journal.db") as client:
        post(client)
        prefect.begin_all()
        codes = [post(client).status_code for _ in range(60)]
        assert set(codes) == {409, 429} and codes[-1] == 429
        assert post(client, b"new").status_code == 202


def test_what_was_repeated_is_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_REPEATED", 3)
    gate = delivery.Gate(None, None, None, None)  # type: ignore[arg-type]
    for number in range(10):
        gate._remember(bytes([number]))
    assert [*gate._repeated] == [b"\x07", b"\x08", b"\x09"]
