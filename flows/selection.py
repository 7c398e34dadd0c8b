"""Selection: the bases one after another, those that are only asked first, and which one the run goes on with."""

from __future__ import annotations

import time

from contender.models import ResolvedBase
from contender.progress import Note, tell
from contender.records import SplitReport
from contender.run import Run
from contender.selecting import SelectionReport
from contender.stages.asked import SHOTS
from contender.stages.base import with_base
from contender.stages.compared import selection_of
from contender.stages.selection import kept
from contender.workspace import Staged
from tasks.selection import ask_base, compare_base, conclude_selection


def selected(
    run: Run, bases: tuple[ResolvedBase, ...], split: Staged[SplitReport]
) -> tuple[Run, ResolvedBase, SelectionReport | None]:
    """The run with one base in its spec, that base, and what the selection came to; None where there was nothing to choose."""
    names = run.pipeline.spec.model.bases
    if len(names) == 1:
        return run, bases[0], None
    began = time.monotonic()
    tell(Note("selection", "started"))
    compared = [ask_base(run, name, shots, split) for name in run.pipeline.spec.model.asked for shots in SHOTS]
    compared += [compare_base(run, base, split) for base in bases]
    by_name = {base.name: base for base in bases}
    if selection_of(run).keep > 1:
        going = [by_name[names[one.number - 1]] for one in kept(run, compared)]
        compared += [compare_base(run, base, split, full=True) for base in going]
    report = conclude_selection(run, split, tuple(compared), time.monotonic() - began)
    chosen = by_name[names[report.chosen - 1]]
    return with_base(run, chosen.name), chosen, report
