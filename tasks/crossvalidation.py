"""Policy of cross-validation: a store or a hub that does not answer is asked again; its progress in the UI."""

from __future__ import annotations

from contender.crossvalidation import CrossValidated
from contender.models import ResolvedBase
from contender.progress import listening
from contender.records import SplitReport
from contender.run import Run
from contender.showing.crossvalidation import folds_page
from contender.stages import crossvalidation as stages
from contender.workspace import Staged
from tasks.artifacts import ProgressBar, leave
from tasks.policy import stage_task


@stage_task
def cross_validate(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> CrossValidated:
    with ProgressBar(run, stages.STAGE) as bar, listening(bar):
        found = stages.cross_validate(run, base, split)
    leave(run, "folds", lambda: folds_page(found), found.sentence)
    return found
