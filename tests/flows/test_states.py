"""The name of a final state tells what came of a run, and its kind whether somebody must look."""

from __future__ import annotations

from typing import Any

import pytest

from contender.run import RunResult
from flows.states import NAMES, ended


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        ("promoted", "Promoted"),
        ("kept", "Kept"),
        ("inconclusive", "Inconclusive"),
        ("superseded", "Superseded"),
        ("up_to_date", "UpToDate"),
        ("skipped", "Skipped"),
    ],
)
def test_whatever_is_decided_completes_a_run(outcome: Any, name: str) -> None:
    state = ended(RunResult(pipeline="desk", outcome=outcome, message="why", seconds=1.0))
    assert (state.name, state.is_completed(), state.message) == (name, True, "why")


def test_bad_data_fails_a_run_by_its_own_name() -> None:
    state = ended(RunResult(pipeline="desk", outcome="rejected_data", message="why", seconds=1.0))
    assert (state.name, state.is_failed(), state.is_crashed()) == ("RejectedData", True, False)


def test_no_two_outcomes_share_a_name() -> None:
    assert len(set(NAMES.values())) == len(NAMES)
