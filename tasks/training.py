"""Policy of the trainings, of the model and of what makes it smaller: a hub that does not answer is asked again; progress in the UI; no
time-out of Prefect's own, since a training ends by itself.
"""

from __future__ import annotations

from contender.compression import Compression
from contender.models import ResolvedBase
from contender.progress import listening
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.showing.model import compression_page, training_page
from contender.stages import base as bases
from contender.stages import compress as compressing
from contender.stages import model as stages
from contender.stages.training import trained_told
from contender.workspace import Staged
from tasks.artifacts import ProgressBar, leave
from tasks.policy import stage_task


@stage_task
def find_base(run: Run) -> ResolvedBase:
    return bases.find_base(run)


@stage_task
def find_student(run: Run, base: ResolvedBase) -> ResolvedBase | None:
    return bases.find_student(run, base)


@stage_task
def fine_tune(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> Staged[TrainReport]:
    with ProgressBar(run, "train") as bar, listening(bar):
        model = stages.fine_tune(run, base, split)
    primary = run.pipeline.spec.evaluate.metrics[0]
    told = trained_told(model.record)
    leave(run, "training", lambda: training_page(model.record, primary), told, cached=model.cached)
    return model


@stage_task
def compress(
    run: Run, student: ResolvedBase | None, model: Staged[TrainReport], split: Staged[SplitReport]
) -> Staged[Compression]:
    with ProgressBar(run, "compress") as bar, listening(bar):
        made = compressing.compress(run, student, model, split)
    leave(run, "compression", lambda: compression_page(made.record), made.record.sentence, cached=made.cached)
    return made
