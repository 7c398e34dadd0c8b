"""Policy of a selection: a store, a hub or an API that does not answer is asked again; every base is a task, with its own progress."""

from __future__ import annotations

from collections.abc import Sequence

from contender.models import ResolvedBase
from contender.progress import listening
from contender.records import SplitReport
from contender.run import Run
from contender.selecting import ComparedBase, SelectionReport
from contender.showing.selection import selection_page
from contender.stages import asked as asking
from contender.stages import base as finding
from contender.stages import selection as stages
from contender.workspace import Staged
from tasks.artifacts import ProgressBar, leave
from tasks.policy import stage_task


@stage_task
def find_bases(run: Run) -> tuple[ResolvedBase, ...]:
    return finding.find_bases(run)


@stage_task
def ask_base(run: Run, name: str, shots: asking.Shots, split: Staged[SplitReport]) -> ComparedBase:
    with ProgressBar(run, "selection") as bar, listening(bar):
        return asking.ask_base(run, name, shots, split)


@stage_task
def compare_base(run: Run, base: ResolvedBase, split: Staged[SplitReport], full: bool = False) -> ComparedBase:
    with ProgressBar(run, "selection") as bar, listening(bar):
        return stages.compare_base(run, base, split, full)


@stage_task
def conclude_selection(
    run: Run, split: Staged[SplitReport], compared: Sequence[ComparedBase], seconds: float
) -> SelectionReport:
    report = stages.conclude_selection(run, split, compared, seconds)
    leave(run, "selection", lambda: selection_page(report), report.sentence)
    return report
