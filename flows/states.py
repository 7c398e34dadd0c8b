"""The final state of a flow run, named after its outcome so that the UI tells them apart at a glance."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from contender.errors import Interrupted
from contender.run import RunResult

NAMES = {
    "promoted": "Promoted",
    "kept": "Kept",
    "inconclusive": "Inconclusive",
    "superseded": "Superseded",
    "rejected_data": "RejectedData",
    "up_to_date": "UpToDate",
}


def ended(result: RunResult) -> State[RunResult]:
    """Rejected data is a failure that somebody must look at; a champion that stays is none."""
    make = Failed if result.outcome == "rejected_data" else Completed
    return make(name=NAMES[result.outcome], message=result.message, data=result)


def stopped(error: Interrupted) -> State[RunResult]:
    """A deployed run that a signal stopped, since its machine goes away: its deployment continues what crashed.

    Where somebody cancelled it, the server refuses this state, and the worker ends the run as Cancelled.
    """
    return Crashed(message=error.what)
