"""Search: trials one after another, each chosen by those before, until there were enough or one is good enough."""

from __future__ import annotations

import time

from contender.contest import Champion
from contender.models import ResolvedBase
from contender.progress import Note, tell
from contender.records import SplitReport
from contender.run import Run
from contender.searching import SearchReport, TriedTrial
from contender.stages.around import around_champion
from contender.stages.search import is_over, with_changes
from contender.workspace import Staged
from tasks.search import conclude_search, try_next


def searched(run: Run, base: ResolvedBase, split: Staged[SplitReport], champion: Champion) -> tuple[Run, SearchReport]:
    """The run with the values of the best trial in its spec, whose training is found then, and what the search came to."""
    began = time.monotonic()
    tell(Note("search", "started"))
    run = around_champion(run, base, champion.manifest)
    trials: list[TriedTrial] = []
    while not is_over(run, trials):
        trials.append(try_next(run, base, split, tuple(trials)))
    report = conclude_search(run, split, tuple(trials), time.monotonic() - began)
    return with_changes(run, report.chosen.changes), report
