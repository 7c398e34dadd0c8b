"""Which errors are tried again, when, and how a found stage is named."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import flow
from prefect.states import Failed

from contender import stopping
from contender.errors import DataError, Interrupted, StoreError, StoreUnavailable, Transient
from contender.progress import Note, listening
from contender.records import Record
from contender.workspace import Staged
from tasks import policy
from tasks.policy import LONGEST_DELAY, PATIENCE_SECONDS, delays, is_transient, retry_when_transient, stage_task


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StoreUnavailable("x"), True),
        (Transient("x"), True),
        (StoreError("x"), False),
        (DataError("x"), False),
        (ValueError("x"), False),
        (KeyboardInterrupt(), False),
        (caused(RuntimeError("x"), StoreUnavailable("y")), True),
        (caused(RuntimeError("x"), StoreError("y")), False),
    ],
)
def test_only_transient_errors_are_tried_again(error: BaseException, again: bool) -> None:
    assert is_transient(error) is again
    assert retry_when_transient(None, None, Failed(data=error)) is again


def test_a_loop_of_causes_ends() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert is_transient(one) is False


def test_a_state_without_an_error_is_not_tried_again() -> None:
    assert retry_when_transient(None, None, Failed(message="no data")) is False


def test_delays_double_up_to_the_longest_and_last_as_long_as_patience() -> None:
    found = delays()
    assert all(later == min(2 * earlier, LONGEST_DELAY) for earlier, later in pairwise(found))
    assert PATIENCE_SECONDS <= sum(found) < PATIENCE_SECONDS + LONGEST_DELAY


def test_patience_begins_with_the_first_failure_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(policy.time, "monotonic", lambda: now[0])
    assert len(stage_task(lambda: None).task.retry_delay_seconds) < stage_task(lambda: None).task.retries  # type: ignore[attr-defined]
    run, failed = SimpleNamespace(id=object()), Failed(data=StoreUnavailable("x"))
    assert retry_when_transient(None, run, failed)
    now[0] += PATIENCE_SECONDS - 1
    assert retry_when_transient(None, run, failed)
    now[0] += 2
    assert not retry_when_transient(None, run, failed)
    assert retry_when_transient(None, SimpleNamespace(id=object()), failed), "another task has its own"


def test_a_task_may_have_less_patience_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(policy.time, "monotonic", lambda: now[0])
    run, failed = SimpleNamespace(id=object()), Failed(data=StoreUnavailable("x"))
    hasty = stage_task(lambda: None, patience=30.0).task  # type: ignore[attr-defined]
    assert retry_when_transient(hasty, run, failed)
    now[0] += 31
    assert not retry_when_transient(hasty, run, failed)
    assert retry_when_transient(None, run, failed)


def test_a_signal_that_comes_while_a_retry_is_waited_for_ends_the_wait() -> None:
    def away() -> None:
        raise StoreUnavailable("the store did not answer")

    call = stage_task(away)
    with stopping.stoppable(), pytest.raises(StoreUnavailable):
        call.task.fn()
    try:
        with stopping.stoppable():
            stopping.rest(True)
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
    finally:
        stopping.rest(False)


@pytest.mark.usefixtures("prefect_server")
def test_each_attempt_and_the_last_one_say_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FIRST_DELAY", 0.2)
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 1.0)
    notes: list[Note] = []

    def away() -> None:
        raise StoreUnavailable("the store did not answer")

    call = stage_task(away)
    with listening(notes.append), pytest.raises(StoreUnavailable):
        flow(call, name="patient", retries=0)()
    words = [note.text for note in notes]
    assert all(text.startswith("the store did not answer; trying again in about ") for text in words[:-1])
    assert words[-1].startswith("the store did not answer; given up after ")
    assert 2 < len(words) < call.task.retries  # type: ignore[attr-defined]


class Nothing(Record):
    pass


@pytest.mark.parametrize(("cached", "name"), [(True, "Cached"), (False, None)])
def test_a_stage_found_in_the_workspace_ends_as_cached(cached: bool, name: str | None) -> None:
    staged = Staged("train", "k", Nothing(), Path("/nowhere"), cached, 1.0)
    call = stage_task(lambda: staged)
    value = call.task.fn()
    assert getattr(value, "name", None) == name
