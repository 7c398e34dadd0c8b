"""Search: trials one after another or some side by side, each chosen by those before, until there were enough or one is good enough."""

from __future__ import annotations

import time
from functools import partial

from contender.contest import Champion
from contender.models import ResolvedBase
from contender.progress import Note, tell
from contender.records import SplitReport
from contender.room import room_for, sharing
from contender.run import Run
from contender.searching import SearchReport, TriedTrial
from contender.sidebyside import side_by_side
from contender.stages.around import around_champion
from contender.stages.search import forget_models, generation, is_over, with_changes
from contender.stages.selection import searching_among
from contender.workspace import Staged
from tasks.search import conclude_search, try_next


def searched(
    run: Run, bases: tuple[ResolvedBase, ...], split: Staged[SplitReport], champion: Champion
) -> tuple[Run, SearchReport]:
    """The run with the values of the best trial in its spec, whose training is found then, and what the search came to.

    bases: that are tried, the one of the spec first.
    """
    began = time.monotonic()
    room = room_for(run, bases)
    tell(Note("search", "started", room.text))
    run = around_champion(searching_among(run, bases), bases[0], champion.manifest)
    sharer, trials = sharing(run, room), tuple[TriedTrial, ...]()
    while not is_over(run, trials):
        beside = generation(run, trials, room.trials)
        tried = side_by_side([partial(try_next, sharer, bases, split, trials, one) for one in beside], room.at_once)
        forget_models(run, trials, tried)
        trials = (*trials, *tried)
    report = conclude_search(run, split, trials, time.monotonic() - began)
    return with_changes(run, report.chosen.changes), report
