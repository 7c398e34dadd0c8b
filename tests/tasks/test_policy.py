"""Which errors are tried again, when, and how a found stage is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.states import Failed

from contender.errors import DataError, StoreError, StoreUnavailable, Transient
from contender.records import Record
from contender.workspace import Staged
from tasks.policy import RETRIES, delays, is_transient, retry_when_transient, stage_task


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


def test_delays_double_and_there_is_one_per_retry() -> None:
    assert len(delays()) == RETRIES
    assert all(later == 2 * earlier for earlier, later in zip(delays(), delays()[1:], strict=False))


class Nothing(Record):
    pass


@pytest.mark.parametrize(("cached", "name"), [(True, "Cached"), (False, None)])
def test_a_stage_found_in_the_workspace_ends_as_cached(cached: bool, name: str | None) -> None:
    staged = Staged("train", "k", Nothing(), Path("/nowhere"), cached, 1.0)
    call = stage_task(lambda: staged)
    value = call.task.fn()
    assert getattr(value, "name", None) == name
