"""Webhooks to the stack of `contender up`, from outside: believed or refused, and from 202 to a promoted model."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from desk import PIPELINE, tickets, write_tickets
from upped import Up
from workers import until

from contender.store.s3_client import make_client

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
    assert until("202", accepted, 60, lambda: up.said)
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


@pytest.mark.server("ceph")
@pytest.mark.parametrize("s3_server", ["ceph"], indirect=True)
def test_an_object_that_ceph_tells_of_ends_in_a_promoted_model(
    s3_server: Any, tmp_path: Path, tiny_base: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket's own notification: its gateway can send no header, so the secret is the last part of the path."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CONTENDER_TEST_HOOK", SECRET)
    bucket = s3_server.bucket
    text = PIPELINE.format(base=tiny_base).replace("source: tickets/", f"source: s3://{bucket}/notified/tickets/")
    text += f"promote: {{to: s3://{bucket}/notified/models/}}\n" + STARTS.replace("github", "token")
    (tmp_path / "desk.yaml").write_text(text)
    up = Up.start(home, str(tmp_path / "desk.yaml"))
    try:
        up.until("Worker 'up' started!")
        port = int((up.home / "stack" / "gateway.port").read_text())
        until("the gateway", lambda: answers(port), 60, lambda: up.said)
        keys = {"aws_access_key_id": s3_server.access_key, "aws_secret_access_key": s3_server.secret_key}
        topics = boto3.client("sns", endpoint_url=s3_server.endpoint, region_name="us-east-1", **keys)
        endpoint = {"push-endpoint": f"http://127.0.0.1:{port}/hooks/desk/{SECRET}"}
        topic = topics.create_topic(Name="uploads", Attributes=endpoint)["TopicArn"]
        told = {"Id": "uploads", "TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
        store = make_client(None, 3)
        store.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [told]}
        )
        rows = write_tickets(tmp_path / "1.csv", tickets(240, seed=1))
        store.put_object(Bucket=bucket, Key="notified/tickets/1.csv", Body=rows.read_bytes())
        up.until("desk: Promoted", 120)
        topics.delete_topic(TopicArn=topic)
        assert "desk runs (webhook)" in up.said
        assert SECRET not in up.said, "the token of the path is in no log"
        assert up.ends()["pipelines"][0]["champion"]
        assert store.list_objects_v2(Bucket=bucket, Prefix="notified/models/desk/aliases/production/")["KeyCount"] == 1
    finally:
        up.kill_all()


def answers(port: int) -> bool:
    return post_refused(port, "") == 401


def post_refused(port: int, signature: str) -> int:
    def answered() -> int | None:
        try:
            return post(port, "/hooks/desk", signature)[0]
        except OSError:
            return None

    return until("an answer", answered, 60) or 0
