"""Policy of the split: counts per set, and what was removed so that nothing held out leaks, are shown."""

from __future__ import annotations

from contender.records import QualityReport, Snapshot, SplitReport
from contender.run import Run
from contender.showing.data import split_page
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def split_rows(run: Run, snapshot: Staged[Snapshot], quality: Staged[QualityReport]) -> Staged[SplitReport]:
    split = stages.split_rows(run, snapshot, quality)
    leave(run, "split", lambda: split_page(split.record), stages.dealt(split.record), cached=split.cached)
    return split
