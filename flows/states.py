"""The final state of a flow run, named after its outcome so that the UI tells them apart at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from contender.errors import ContenderError
from contender.newdata import Look, LookOutcome
from contender.run import RunResult
from contender.stages.measuring import Measured

NAMES = {
    "promoted": "Promoted",
    "kept": "Kept",
    "inconclusive": "Inconclusive",
    "superseded": "Superseded",
    "rejected_data": "RejectedData",
    "up_to_date": "UpToDate",
    "skipped": "Skipped",
    "done": "Done",
}

LOOKS: dict[LookOutcome, str] = {
    "started": "Started",
    "joined": "Joined",
    "nothing_new": "NothingNew",
    "not_enough": "NotEnough",
    "settling": "Settling",
    "busy": "Busy",
    "waiting": "WaitingToRetry",
}
LOOK_FAILED = "LookFailed"

Result = TypeVar("Result", bound=RunResult | Measured)

_results: ContextVar[list[RunResult | Measured | Look] | None] = ContextVar("results", default=None)


@contextmanager
def results_kept() -> Iterator[list[RunResult | Measured | Look]]:
    """Inside, what runs come to is added to the list, whether or not their Prefect server can be told of it."""
    kept: list[RunResult | Measured | Look] = []
    token = _results.set(kept)
    try:
        yield kept
    finally:
        _results.reset(token)


def _keep(result: RunResult | Measured | Look) -> None:
    kept = _results.get()
    if kept is not None:
        kept.append(result)


def ended(result: Result) -> State[Result]:
    """Rejected data is a failure that somebody must look at; a champion that stays is none."""
    _keep(result)
    make = Failed if result.outcome == "rejected_data" else Completed
    return make(name=NAMES[result.outcome], message=result.message, data=result)


def looked(look: Look) -> State[Look]:
    _keep(look)
    return Completed(name=LOOKS[look.outcome], message=look.message, data=look)


def look_failed(error: ContenderError) -> State[Look]:
    """What stopped a look; the next one looks again."""
    return Failed(name=LOOK_FAILED, message=error.in_one_line, data=error)
