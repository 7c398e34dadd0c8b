"""Notifications as a user has them: receivers on loopback, the command line, and runs of a worker that die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, tickets
from receivers import SECRET, Receiver, mailbox, never_answering, receiving

from contender.notifications import EVENT_OF
from tasks import notification

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        monkeypatch.setenv("HOOK", one.url)
        yield one


def notifying(desk: Desk, *to: str, on: str = "promoted, kept, rejected, failed") -> None:
    text = desk.pipeline.read_text()
    desk.pipeline.write_text(f"{text}notify: {{on: [{on}], to: [{', '.join(to)}]}}\n")


@pytest.mark.slow
def test_each_outcome_is_posted_once_with_its_sentence_and_a_receiver_that_fails_changes_no_exit_code(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(Receiver(statuses=[500])) as failing, mailbox() as (port, mails):
        monkeypatch.setenv("DOWN", failing.url)
        monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{port}?from=ml@example.com&to=team@example.com")
        notifying(desk, "env:DOWN", "env:HOOK", "env:MAIL")
        desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))
        ran = desk.retrain()
    assert (ran.code, ran.document["outcome"], ran.document["alias_entry"]) == (0, "promoted", 1), ran.shown
    assert "! notify    env:DOWN was not notified: it answered 500" in ran.shown
    (told,) = receiver.payloads
    assert told["title"] == f"desk: promoted {ran.document['release']}" == mails[0]["subject"]
    assert ran.document["verdict"]["sentence"].split(":")[0] in told["body"]
    assert "- started by: command line" in told["body"] and f"/flow-run/{ran.document['flow_run_id']}" in told["run"]
    assert mails[0].get_content().splitlines() == told["body"].splitlines()

    assert desk.retrain().document["outcome"] == "up_to_date"
    ran = desk.retrain("--set", "promote.floors={accuracy: 0.9999}")
    assert ran.code == 3
    desk.drop("2.csv", [("", "red")] * 100)
    assert desk.retrain().code == 4
    assert [payload["event"] for payload in receiver.payloads] == ["promoted", "kept", "rejected"]
    assert [payload["outcome"] for payload in receiver.payloads][1:] == [ran.document["outcome"], "rejected_data"]
    assert EVENT_OF[ran.document["outcome"]] == "kept"
    left = [path.read_bytes() for path in desk.registry.rglob("*") if path.is_file()]
    assert left and not any(SECRET.encode() in data for data in left), "no registry holds a secret"
    assert SECRET not in ran.shown


def test_what_ends_a_run_before_its_flow_begins_is_told_as_well(desk: Desk, receiver: Receiver) -> None:
    notifying(desk, "env:HOOK", "env:UNSET")
    ran = desk.retrain()  # there are no tickets yet
    assert ran.code == 2
    (told,) = receiver.payloads
    assert told["title"] == "desk: failed" and "tickets" in told["body"].splitlines()[0]
    assert "same command continues" in told["body"]
    assert "! env:UNSET was not notified: notify.to is env:UNSET, and UNSET is not set" in ran.shown


def test_receivers_are_tried_without_a_training(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    monkeypatch.setattr(notification, "WAIT_SECONDS", 1.0)
    ran = desk.run("check", str(desk.pipeline), "--notify", "--json")
    assert ran.code == 2 and "has no notify" in ran.shown

    notifying(desk, "env:HOOK")
    ran = desk.run("check", str(desk.pipeline), "--notify", "--json")
    assert (ran.code, ran.document["notified"]) == (0, {"env:HOOK": ""})
    assert receiver.payloads[0]["title"] == "desk: a message to try" and "✓ env:HOOK was told" in ran.shown
    assert "notified" not in desk.run("check", str(desk.pipeline), "--json").document and len(receiver.payloads) == 1

    with never_answering() as silent:
        monkeypatch.setenv("HOOK", silent)
        ran = desk.run("check", str(desk.pipeline), "--notify", "--json")
    assert (ran.code, ran.document["outcome"]) == (1, "failed")
    assert f"✗ env:HOOK was not told: {notification.UNKNOWN}" in ran.shown
    assert SECRET not in ran.shown + str(ran.document)


def test_a_url_in_the_spec_is_refused_and_not_shown(desk: Desk, tmp_path: Path) -> None:
    notifying(desk, f"https://hooks.slack.com/services/T0/B0/{SECRET}")
    ran = desk.retrain()
    assert ran.code == 2 and "notify.to.0: must name where the receiver's URL is" in ran.shown
    assert SECRET not in ran.shown + str(ran.document)
