"""Policy of the fine-tune: a hub that does not answer is asked again; progress in the UI; no time-out of Prefect's own, since the
training ends by itself.
"""

from __future__ import annotations

from contender.models import ResolvedBase
from contender.progress import listening
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.showing.model import training_page
from contender.stages import model as stages
from contender.stages.base import find_base as find
from contender.workspace import Staged
from tasks.artifacts import ProgressBar, leave
from tasks.policy import stage_task


@stage_task
def find_base(run: Run) -> ResolvedBase:
    return find(run)


@stage_task
def fine_tune(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> Staged[TrainReport]:
    with ProgressBar(run, "train") as bar, listening(bar):
        model = stages.fine_tune(run, base, split)
    primary = run.pipeline.spec.evaluate.metrics[0]
    told = stages.trained_told(model.record)
    leave(run, "training", lambda: training_page(model.record, primary), told, cached=model.cached)
    return model
