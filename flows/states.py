"""The final state of a flow run, named after its outcome so that the UI tells them apart at a glance."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

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
