"""Watch: one look at a pipeline's data, and a run where enough of it is new. It holds order and branches; contender/newdata.py decides."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from contender.errors import ContenderError
from contender.newdata import Look
from contender.run import Run, open_run
from contender.spec import Pipeline
from flows.monitored import score_new_rows
from flows.states import look_failed, looked
from tasks.logs import logged
from tasks.naming import named
from tasks.turn import devices_of
from tasks.watch import find_runs, only_look, see, start, weigh


@flow(name="watch", flow_run_name=partial(named, "look"), persist_result=False)
def watch(spec: Pipeline) -> State[Look]:
    """Looks once. The state says what came of it: Started, Joined, NothingNew, NotEnough, Settling, Busy, WaitingToRetry, LookFailed."""
    try:
        run = open_run(spec, f"flow-run:{flow_run.id}", flow_run.id)
        run = replace(run, hold_device=devices_of(run))
        with logged(), only_look(run) as busy:
            return looked(busy or look_at(run))
    except ContenderError as error:
        return look_failed(error)


def look_at(run: Run) -> Look:
    seen = see(run)
    around = find_runs(run, seen)
    look, changes = weigh(run, seen, around)
    if look.outcome == "not_enough" and not around.busy:
        look, changes = weigh(run, seen, around, score_new_rows(run, seen.snapshot))
    return start(run, look, changes, around) if look.outcome == "started" else look
