"""What is different about a deployment's runs: the server continues those that crashed, as the same flow run, and they count it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Crashed

from contender.errors import Interrupted, TakenOver
from contender.recovery import attempted
from contender.run import Run
from contender.stopping import stopped_with_parent

Result = TypeVar("Result")


def continued(run: Run, body: Callable[[Run], State[Result]]) -> State[Result]:
    """The state that `body` gives; in a run of a deployment this is one attempt at it.

    A signal that stops it makes it Crashed, to go on elsewhere; where somebody cancelled it, the server refuses that state, and the
    worker ends it as Cancelled. Raises Abort, which leaves the state alone, where a newer attempt is under way.
    """
    if deployment.id is None:
        return body(run)
    most = run.pipeline.spec.resources.max_recoveries
    try:
        with (
            stopped_with_parent(),  # its worker: without one nobody could cancel it
            attempted(run.workspace.records, str(flow_run.id), most, get_run_logger().warning),
        ):
            return body(run)
    except Interrupted as error:
        return Crashed(message=error.what)
    except TakenOver as error:
        raise Abort(error.what) from error
