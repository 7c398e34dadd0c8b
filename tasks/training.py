"""Policy of the fine-tune: progress in the UI, no time-out of Prefect's own (its child ends by itself), transient errors again."""

from __future__ import annotations

from contender.progress import listening
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.stages import model as stages
from contender.workspace import Staged
from tasks.artifacts import ProgressBar
from tasks.policy import stage_task


@stage_task
def fine_tune(run: Run, split: Staged[SplitReport]) -> Staged[TrainReport]:
    with ProgressBar(run, "train") as bar, listening(bar):
        return stages.fine_tune(run, split)
