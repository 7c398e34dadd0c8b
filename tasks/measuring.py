"""Policy of what measurements have in common: the registry is asked again where it does not answer."""

from __future__ import annotations

from contender.noise import Trial
from contender.records import ReleaseManifest, SplitReport, TrainReport
from contender.run import Run
from contender.stages import measuring as stages
from contender.workspace import Staged
from tasks.policy import stage_task


@stage_task
def find_live(run: Run) -> ReleaseManifest | None:
    return stages.find_live(run)


@stage_task
def try_out(run: Run, model: Staged[TrainReport], split: Staged[SplitReport], on: str, stage: str, place: str) -> Trial:
    return stages.try_out(run, model, split, on, stage, place)
