"""Selection: the bases one after another, those that are only asked first, and which of them the run goes on with."""

from __future__ import annotations

import time

from contender.models import ResolvedBase
from contender.progress import Note, tell
from contender.records import SplitReport
from contender.run import Run
from contender.selecting import SelectionReport
from contender.stages.asked import SHOTS
from contender.stages.base import with_base
from contender.stages.selection import kept
from contender.workspace import Staged
from tasks.selection import ask_base, compare_base, conclude_selection


def selected(
    run: Run, bases: tuple[ResolvedBase, ...], split: Staged[SplitReport]
) -> tuple[Run, tuple[ResolvedBase, ...], SelectionReport | None]:
    """The run with the best base in its spec, the bases that go on, this one first, and what the selection came to; None where there was
    nothing to choose."""
    names = run.pipeline.spec.model.bases
    if len(names) == 1:
        return run, bases, None
    began = time.monotonic()
    tell(Note("selection", "started"))
    compared = [ask_base(run, name, shots, split) for name in run.pipeline.spec.model.asked for shots in SHOTS]
    compared += [compare_base(run, base, split) for base in bases]
    by_name = {base.name: base for base in bases}
    going = tuple(by_name[names[one.number - 1]] for one in kept(run, compared))
    if len(going) > 1 and not run.pipeline.spec.search:
        compared += [compare_base(run, base, split, full=True) for base in going]
    report = conclude_selection(run, split, tuple(compared), time.monotonic() - began)
    chosen = by_name[names[report.chosen - 1]]
    return with_base(run, chosen.name), going if run.pipeline.spec.search else (chosen,), report
