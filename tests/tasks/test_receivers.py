"""What really arrives at receivers on loopback, through Prefect's own blocks, and what is said where it does not."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.abstract import NotificationBlock
from receivers import SECRET, Receiver, certified, dripping, mailbox, never_answering, proxying, receiving
from snippets import blocks

from contender.reporting.message import Message, message_of
from contender.run import RunResult
from contender.spec import Pipeline, Spec
from contender.text import chat_safe
from tasks import notification, receivers
from tasks.notification import send_to_all

MESSAGE = Message(
    "desk: promoted r-1", "Better by 2 points.\n\n- run: http://127.0.0.1/r?a=1&b=2", {"event": "promoted"}
)
SLACK = f"https://hooks.slack.com/services/T000/B000/{SECRET.replace('-', '')}"
TEAMS = f"https://prod-1.westeurope.logic.azure.com:443/workflows/{SECRET}/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ft&sv=1.0&sig={SECRET}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "DELAYS", (0.05, 0.05))
    monkeypatch.setattr(receivers, "REQUEST_SECONDS", 1.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        yield one


def told(monkeypatch: pytest.MonkeyPatch, *urls: str, message: Message = MESSAGE) -> list[str]:
    """Why each URL's receiver was not told, empty where it was."""
    for number, url in enumerate(urls):
        monkeypatch.setenv(f"TO_{number}", url)
    to = [f"env:TO_{number}" for number in range(len(urls))]
    came = send_to_all(pipeline(), message, to)
    assert list(came) == to
    assert SECRET not in str(came) and "s3cr3t" not in str(came), "a webhook's URL is its secret"
    return list(came.values())


def pipeline(folder: Path = Path("/")) -> Pipeline:
    value = {"name": "desk", "task": "text-classification", "data": {"source": "t/"}, "model": {"base": "b"}}
    return Pipeline(spec=Spec.model_validate(value), folder=str(folder), suite_name="s", suite={})


def test_any_url_gets_json_that_slack_like_servers_and_programs_read(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(monkeypatch, receiver.url) == [""]
    assert receiver.payloads == [
        {
            "text": f"{MESSAGE.title}\n\n{MESSAGE.body}",
            "title": MESSAGE.title,
            "body": MESSAGE.body,
            "event": "promoted",
        }
    ]


def test_a_file_holds_the_url_as_well(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{receiver.url}\n")
    assert send_to_all(pipeline(tmp_path), MESSAGE, ["file:url"]) == {"file:url": ""}
    assert len(receiver.payloads) == 1


def test_slack_and_teams_get_what_they_read_at_their_own_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certified(tmp_path, "hooks.slack.com", "prod-1.westeurope.logic.azure.com")
    asked: list[str] = []
    with receiving(Receiver(), authority.context) as receiver, proxying(receiver.port, asked) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
        assert told(monkeypatch, SLACK) == [""]
        assert told(monkeypatch, TEAMS) == [""]
    slack, teams = receiver.payloads
    assert asked == ["hooks.slack.com:443", "prod-1.westeurope.logic.azure.com:443"]
    (attachment,) = slack["attachments"]
    assert attachment["title"] == MESSAGE.title
    assert attachment["color"] == "#3AA337", "green, as something that went well"
    assert attachment["text"] == MESSAGE.body.replace("&", "&amp;"), "as Slack's own text has it"
    blocks = teams["attachments"][0]["content"]["body"]
    assert [block["text"] for block in blocks if block["type"] == "TextBlock"] == [MESSAGE.title, MESSAGE.body]
    assert SECRET in receiver.paths[1]


def test_a_mail_has_the_lines_of_the_message_and_no_header_of_anybody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    title = chat_safe("desk: promoted\r\nBcc: all@example.com", 100)
    message = Message(title, "a < b & c\n\n- second → line", {})
    with mailbox() as (port, mails):
        url = f"mailto://127.0.0.1:{port}?from=ml@example.com&to=team@example.com"
        assert told(monkeypatch, url, message=message) == [""]
    (mail,) = mails
    assert (mail["to"], mail["bcc"], mail["subject"]) == ("team@example.com", None, title)
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == message.body.splitlines()


@pytest.mark.parametrize(
    ("answers", "why", "asked"),
    [
        ([500], "it answered 500", 3),
        ([429, 503, 200], "", 3),
        ([404], "it answered 404", 1),
        ([204], "", 1),
    ],
)
def test_a_receiver_that_answers_badly_is_asked_again_where_that_can_help(
    answers: list[int], why: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(Receiver(statuses=answers)) as receiver:
        assert told(monkeypatch, receiver.url) == [why]
    assert len(receiver.payloads) == asked


def test_apprise_is_asked_again_as_well_and_its_log_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(Receiver(statuses=[503])) as down, receiving(Receiver(statuses=[404])) as gone:
        urls = [one.url.replace("http:", "json:") for one in (down, gone)]
        assert told(monkeypatch, *urls) == ["it answered 503", "it answered 404"]
        assert (len(down.payloads), len(gone.payloads)) == (3, 1)


@pytest.mark.parametrize("scheme", ["http:", "json:"])
def test_no_redirect_is_followed(scheme: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(Receiver(statuses=[307], location=receiver.url)) as moved:
        (why,) = told(monkeypatch, moved.url.replace("http:", scheme))
    assert why == "it answered 307: it is at another URL now"
    assert receiver.payloads == [], "the message stays with the host that was named"


def test_one_that_hangs_holds_up_neither_the_others_nor_the_run(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification, "WAIT_SECONDS", 2.0)
    began = time.monotonic()
    with never_answering() as silent, dripping() as slow, never_answering() as apprise:
        came = told(monkeypatch, silent, receiver.url, slow, apprise.replace("http:", "json:"))
    assert came == ["it did not answer within 1 s", "", notification.UNKNOWN, notification.UNKNOWN]
    assert time.monotonic() - began < 3.5


def test_nobody_there_and_a_certificate_of_nobody_knows_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certified(tmp_path, "localhost")
    with receiving(Receiver(), authority.context) as receiver:
        tls = f"https://localhost:{receiver.port}/hooks/{SECRET}"
        nobody = f"http://127.0.0.1:9/hooks/{SECRET}"
        came = told(monkeypatch, tls, nobody, nobody.replace("http:", "json:"), tls.replace("https:", "jsons:"))
    assert receiver.payloads == []
    assert came[:2] == ["its certificate is not trusted", "it could not be reached"]
    assert set(came[2:]) == {"it could not be reached, or did not answer in time"}


@pytest.mark.parametrize(
    "url",
    ["nonsense://s3cr3t", "s3cr3t", "http://", "https:///s3cr3t", "http://[s3cr3t", "ftp://h/s3cr3t", "file:///s3cr3t"],
)
def test_what_is_no_url_of_a_receiver_is_said_without_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, url) == ["notify.to is env:TO_0, which holds no URL that can be told"]


def test_a_variable_that_is_not_set_and_two_lines_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    assert "UNSET is not set" in send_to_all(pipeline(), MESSAGE, ["env:UNSET"])["env:UNSET"]
    assert told(monkeypatch, f"http://a/\nhttp://b/{SECRET}") == ["notify.to is env:TO_0, which holds no URL"]


def test_a_placeholder_in_a_message_gives_no_secret_of_a_block_away(receiver: Receiver) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(
        name="n", url=receiver.url, json_data={"all": "{{body}} {{token}}"}, secrets={"token": "s3cr3t"}
    )
    block.notify(body=chat_safe("look: {{token}}", 100))
    assert receiver.text.count("s3cr3t") == 1, "where the block itself puts it, and nowhere else"


def test_no_library_logs_a_url_however_much_is_logged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving(Receiver(statuses=[500])) as failing:
        urls = [receiver.url, failing.url, *(one.url.replace("http:", "json:") for one in (receiver, failing))]
        told(monkeypatch, *urls, f"nonsense://{SECRET}")
    assert SECRET not in caplog.text
    logging.getLogger("httpx").warning("still heard")
    assert "still heard" in caplog.text, "only of threads that send"


@pytest.mark.usefixtures("prefect_server")
def test_blocks_of_the_server_are_told_each_by_its_own_way(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.blocks.system import Secret
    from prefect.blocks.webhook import Webhook

    caplog.set_level(logging.DEBUG)
    custom = CustomWebhookNotificationBlock(name="n", url=receiver.url, json_data={"own": "{{subject}}"})
    custom.save("ml-own", overwrite=True)
    Secret(value=receiver.url).save("ml-url", overwrite=True)
    Webhook(url=receiver.url).save("ml-none", overwrite=True)
    to = ["block:custom-webhook/ml-own", "block:secret/ml-url", "block:webhook/ml-none", "block:slack-webhook/ml-gone"]
    came = send_to_all(pipeline(), MESSAGE, to)
    assert list(came.values()) == [
        "",
        "",
        "notify.to is block:webhook/ml-none, which is no notification block",
        "notify.to is block:slack-webhook/ml-gone, which this Prefect server does not have",
    ]
    assert sorted(json.dumps(payload)[:6] for payload in receiver.payloads) == ['{"own"', '{"text']
    assert SECRET not in caplog.text


def test_a_block_of_somebodys_own_that_sends_in_another_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str | None]] = []

    class Own(NotificationBlock):
        async def notify(self, body: str, subject: str | None = None) -> None:
            sent.append((body, subject))

    class Broken(NotificationBlock):
        async def notify(self, body: str, subject: str | None = None) -> None:
            raise RuntimeError(SECRET)

    own: list[NotificationBlock] = [Own(), Broken()]
    monkeypatch.setattr(receivers, "block_of", lambda *_: own.pop(0))
    assert told(monkeypatch, "x:") == [""] and told(monkeypatch, "x:") == ["its block failed with RuntimeError"]
    assert sent == [(MESSAGE.body, MESSAGE.title)]


def test_the_recipes_of_the_docs_reach_the_services_that_they_are_for() -> None:
    page = blocks("docs/notifications.md")
    shell = "".join(block.text for block in page if block.language == "sh")
    recipes = dict(re.findall(r"^export (\w+)='(.+)'$", shell, re.MULTILINE))
    kinds = {name: type(receivers.block_for(url, "env:X", MESSAGE)).__name__ for name, url in recipes.items()}
    assert kinds == {
        "SLACK_URL": "SlackWebhook",
        "TEAMS_URL": "MicrosoftTeamsWebhook",
        "MAIL_URL": "AppriseNotificationBlock",
        "OWN_URL": "CustomWebhookNotificationBlock",
    }
    (sample,) = (block.text for block in page if block.language == "json")
    result = RunResult(pipeline="desk", outcome="promoted", message="", seconds=1)
    sent = receivers.block_for("http://example.com/", "env:X", message_of(pipeline(), result))
    assert set(json.loads(sample)) == set(sent.json_data or {})


def test_a_run_that_is_asked_to_stop_waits_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(notification.stopping, "asked", lambda: True)
    monkeypatch.setattr(receivers, "REQUEST_SECONDS", 5.0)
    began = time.monotonic()
    with never_answering() as silent:
        assert told(monkeypatch, silent) == [notification.UNKNOWN]
    assert time.monotonic() - began < 2
