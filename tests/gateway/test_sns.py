"""Amazon SNS: a subscription is confirmed through the API for the topic that the spec names, and for no other; notifications are looks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from gateways import SECRETS, MemoryPrefect, a_pipeline, basic, gateway
from starlette.testclient import TestClient

pytestmark = pytest.mark.usefixtures("prefect_named")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:uploads"


class Sns(ThreadingHTTPServer):
    """As much of the API as one question needs; it keeps what it was asked, and answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked: list[dict[str, list[str]]] = []
        self.error = ""
        self.pause = 0.0


class Asked(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        server.asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
        time.sleep(server.pause)
        kind = "ErrorResponse" if server.error else "ConfirmSubscriptionResponse"
        inside = f"<Error><Type>Sender</Type><Code>{server.error}</Code><Message>secret detail</Message></Error>"
        if not server.error:
            inside = (
                f"<ConfirmSubscriptionResult><SubscriptionArn>{TOPIC}:1</SubscriptionArn></ConfirmSubscriptionResult>"
            )
        body = f'<{kind} xmlns="http://sns.amazonaws.com/doc/2010-03-31/">{inside}</{kind}>'.encode()
        self.send_response(400 if server.error else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sns]:
    server = Sns()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    yield server
    server.shutdown()
    server.server_close()


@contextmanager
def hooked(tmp_path: Path, topic: str | None = TOPIC) -> Iterator[tuple[TestClient, MemoryPrefect]]:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", topic=topic), a_pipeline(tmp_path, "two", "token", topic=topic))
    with gateway(prefect, tmp_path / "journal.db") as client:
        yield client, prefect


def message(kind: str, **more: Any) -> bytes:
    url = "http://127.0.0.1:1/?Action=ConfirmSubscription"
    known = {"Type": kind, "MessageId": "1", "TopicArn": TOPIC, "Token": "t" * 64, "SubscribeURL": url, "Message": "m"}
    return json.dumps(known | more).encode()


def post(client: TestClient, body: bytes) -> Any:
    return client.post("/hooks/one", content=body, headers=basic() | {"content-type": "text/plain; charset=UTF-8"})


def test_the_subscription_of_the_named_topic_is_confirmed_through_the_api(tmp_path: Path, sns: Sns) -> None:
    with hooked(tmp_path) as (client, prefect):
        answer = post(client, message("SubscriptionConfirmation"))
        assert (answer.status_code, answer.json()) == (200, {"outcome": "confirmed", "pipeline": "one"})
        answer = client.post(f"/hooks/two/{SECRETS['token']}", content=message("SubscriptionConfirmation"))
        assert answer.json() == {"outcome": "confirmed", "pipeline": "two"} and not prefect.runs
    for asked in sns.asked:
        assert asked["Action"] == ["ConfirmSubscription"] and asked["TopicArn"] == [TOPIC]
        assert asked["Token"] == ["t" * 64] and asked["AuthenticateOnUnsubscribe"] == ["true"]
    assert len(sns.asked) == 2


OTHER_TOPICS = ["arn:aws:sns:eu-central-1:123456789012:other", f"{TOPIC} ", TOPIC.upper(), None, [TOPIC], {"a": 1}, ""]


@pytest.mark.parametrize("topic", OTHER_TOPICS)
def test_another_topic_is_not_confirmed(tmp_path: Path, sns: Sns, topic: Any) -> None:
    with hooked(tmp_path) as (client, prefect):
        answer = post(client, message("SubscriptionConfirmation", TopicArn=topic))
        assert answer.status_code == 422 and TOPIC not in answer.text
        assert not sns.asked and not prefect.runs


@pytest.mark.parametrize("token", ["", None, 7, ["t"]])
def test_a_confirmation_without_a_token_asks_nobody(tmp_path: Path, sns: Sns, token: Any) -> None:
    with hooked(tmp_path) as (client, _):
        assert post(client, message("SubscriptionConfirmation", Token=token)).status_code == 422 and not sns.asked


def test_a_pipeline_that_names_no_topic_confirms_none(tmp_path: Path, sns: Sns) -> None:
    with hooked(tmp_path, topic=None) as (client, prefect):
        assert post(client, message("SubscriptionConfirmation")).status_code == 422
        assert not sns.asked and not prefect.runs


def test_a_sender_that_is_not_known_confirms_nothing(tmp_path: Path, sns: Sns) -> None:
    with hooked(tmp_path) as (client, _):
        answer = client.post("/hooks/one", content=message("SubscriptionConfirmation"), headers=basic("a:b"))
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic "), (
            "SNS waits for that"
        )
        assert not sns.asked


def test_a_notification_is_a_look_and_the_end_of_a_subscription_is_nothing(tmp_path: Path, sns: Sns) -> None:
    with hooked(tmp_path) as (client, prefect):
        ended = post(client, message("UnsubscribeConfirmation"))
        assert (ended.status_code, ended.json()["outcome"]) == (200, "ignored") and not prefect.runs
        event = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}]})
        assert post(client, message("Notification", Message=event)).status_code == 202
        assert post(client, message("Notification", Message="SubscriptionConfirmation")).status_code == 202
        assert len(prefect.runs) == 1 and not sns.asked


@pytest.mark.parametrize("error", ["InvalidParameter", "AuthorizationError"])
def test_what_sns_refuses_is_refused_without_its_words(tmp_path: Path, sns: Sns, error: str) -> None:
    sns.error = error
    with hooked(tmp_path) as (client, _):
        answer = post(client, message("SubscriptionConfirmation"))
        assert answer.status_code == 422 and "secret detail" not in answer.text


def test_an_sns_that_does_not_answer_holds_up_nobody(tmp_path: Path, sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.sns.READ_SECONDS", 0.5)
    sns.pause = 1.0
    with hooked(tmp_path) as (client, _):
        waiting = threading.Thread(target=post, args=(client, message("SubscriptionConfirmation")))
        waiting.start()
        while not sns.asked:
            time.sleep(0.01)
        began = time.monotonic()
        assert post(client, b"1").status_code == 202 and time.monotonic() - began < 0.5
        waiting.join()
        answer = post(client, message("SubscriptionConfirmation"))
        assert answer.status_code == 503 and answer.headers["retry-after"]


def test_without_credentials_the_operator_is_told(tmp_path: Path, sns: Sns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with hooked(tmp_path) as (client, _):
        assert post(client, message("SubscriptionConfirmation")).status_code == 503 and not sns.asked
