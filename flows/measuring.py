"""What measurements have in common: rows as a run has them, and then trainings that release, judge and promote nothing.

They take no turn of the pipeline's: they may last hours, and a run that promotes is not to wait for them. Where both want the same
stage, one of them computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from contender.errors import ContenderError
from contender.models import ResolvedBase
from contender.records import Snapshot, SplitReport
from contender.run import Run, open_run
from contender.spec import Pipeline
from contender.stages.measuring import M, ended_by, refused
from contender.stopping import stoppable
from contender.workspace import Staged
from flows.deployed import continued
from flows.states import ended
from tasks.logs import logged
from tasks.measuring import find_live
from tasks.naming import tag_outcome
from tasks.quality import check_quality
from tasks.snapshot import look, take_snapshot
from tasks.split import split_rows
from tasks.training import find_base
from tasks.turn import devices_of


@dataclass(frozen=True)
class Ready:
    """What the trainings of a measurement start from."""

    run: Run
    snapshot: Snapshot
    base: ResolvedBase
    split: Staged[SplitReport]


def measuring(kind: type[M], spec: Pipeline, actor: str, measure: Callable[[Ready], M]) -> State[M]:
    """The state that a measurement of this kind ends in: Done, or RejectedData."""
    run = open_run(spec, actor or f"flow-run:{flow_run.id}", flow_run.id)
    run = replace(run, hold_device=devices_of(run))
    with stoppable(), logged():
        try:
            return continued(run, lambda run: _once(kind, run, measure))
        except ContenderError as error:
            error.ended = ended_by(kind, run, error)
            raise


def _once(kind: type[M], run: Run, measure: Callable[[Ready], M]) -> State[M]:
    result = _come_to(kind, run, measure)
    tag_outcome(run, result.outcome)
    return ended(result)


def _come_to(kind: type[M], run: Run, measure: Callable[[Ready], M]) -> M:
    seen = look(run)
    live = find_live(run)
    base = find_base(run)
    snapshot = take_snapshot(run, seen, live)
    quality = check_quality(run, snapshot, live)
    if not quality.record.passed:
        return refused(kind, run, snapshot.record, quality)
    return measure(Ready(run, snapshot.record, base, split_rows(run, snapshot, quality)))
