"""A webhook to the stack of `contender up`, from outside: believed or refused, and from 202 to a promoted model."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import PIPELINE, tickets, write_tickets
from upped import Up
from workers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "a-secret-of-this-test"
STARTS = "triggers: {webhook: {scheme: github, secrets: [env:CONTENDER_TEST_HOOK]}}\n"
BODY = b'{"ref": "refs/heads/main", "zen": "Keep it logically awesome."}'


@pytest.fixture
def up(tmp_path: Path, tiny_base: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CONTENDER_TEST_HOOK", SECRET)
    (tmp_path / "tickets").mkdir()
    write_tickets(tmp_path / "tickets" / "1.csv", tickets(200, seed=1))
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base) + STARTS)
    made = Up.start(home, str(tmp_path / "desk.yaml"))
    yield made
    made.kill_all()


def post(port: int, path: str, signature: str, host: str = "") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json", "X-GitHub-Event": "push"}
    connection.request("POST", path, BODY, headers | {"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text else {}


def test_a_signed_push_is_believed_and_ends_in_a_promoted_model(up: Up) -> None:
    up.until("Worker 'up' started!")
    port = int((up.home / "stack" / "gateway.port").read_text())
    signature = "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()

    def accepted() -> dict[str, Any] | None:
        try:
            status, answer = post(port, "/hooks/desk", signature)
        except OSError:
            return None
        return answer if status == 202 else None

    assert post_refused(port, "sha256=" + "0" * 64) == 401
    answer = until("202", accepted, 60, lambda: up.said)
    assert answer
    print(answer)
    assert post(port, "/hooks/desk", signature, host="evil.example")[0] in (400, 403, 421)
    up.until("desk: Promoted", 120)
    assert "(webhook" in up.said
    listening = [c.laddr.ip for one in up.below() for c in one.net_connections() if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    for file in (up.home / "stack").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert SECRET not in up.said
    document = up.ends()
    assert document["gateway"] == f"http://127.0.0.1:{port}"
    assert document["pipelines"][0]["hook"] == "POST /hooks/desk"
    assert document["pipelines"][0]["champion"]


def post_refused(port: int, signature: str) -> int:
    def answered() -> int | None:
        try:
            return post(port, "/hooks/desk", signature)[0]
        except OSError:
            return None

    return until("an answer", answered, 60) or 0
