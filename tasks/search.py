"""Policy of a search: a store or a hub that does not answer is asked again; every trial is a task, with its progress in the UI."""

from __future__ import annotations

from collections.abc import Sequence

from contender.models import ResolvedBase
from contender.progress import listening
from contender.records import SplitReport
from contender.run import Run
from contender.searching import SearchReport, TriedTrial
from contender.searchspec import Values
from contender.showing.search import search_page
from contender.stages import search as stages
from contender.workspace import Staged
from tasks.artifacts import ProgressBar, leave
from tasks.policy import stage_task


@stage_task
def try_next(
    run: Run,
    bases: tuple[ResolvedBase, ...],
    split: Staged[SplitReport],
    before: Sequence[TriedTrial],
    beside: Sequence[Values] = (),
) -> TriedTrial:
    with ProgressBar(run, "search") as bar, listening(bar):
        return stages.try_next(run, bases, split, before, beside)


@stage_task
def conclude_search(run: Run, split: Staged[SplitReport], trials: Sequence[TriedTrial], seconds: float) -> SearchReport:
    report = stages.conclude_search(run, split, trials, seconds)
    leave(run, "search", lambda: search_page(report), report.sentence)
    return report
