"""Policy of the monitoring: the registry is asked again where it does not answer; the series is shown."""

from __future__ import annotations

from contender import contest
from contender.contest import Champion
from contender.monitoring import Observation
from contender.records import Snapshot, SplitReport
from contender.run import Run
from contender.showing.series import monitoring_page
from contender.stages import monitoring as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def find_live(run: Run) -> Champion:
    return contest.find_live(run)


@stage_task
def is_monitored(run: Run, champion: Champion, seen: Snapshot) -> bool:
    return stages.is_monitored(run, champion, seen)


@stage_task
def monitor(run: Run, champion: Champion, snapshot: Snapshot, split: Staged[SplitReport]) -> Observation | None:
    found = stages.monitor(run, champion, snapshot, split)
    if found is not None:
        series, _ = run.registry.monitoring.readable()
        leave(run, "monitoring", lambda: monitoring_page(series, found), found.sentence)
    return found


@stage_task
def degradation(run: Run, champion: Champion) -> str | None:
    return stages.degradation(run, champion)
