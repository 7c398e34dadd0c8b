"""Policy of everything that reads or moves an alias: transient errors are tried again, and a number once tried is never abandoned. Both
models are shown side by side.

Where the pipeline promises to be the only writer of its registry, its own runs keep that promise by a lease.
"""

from __future__ import annotations

from pathlib import Path

from contender import conclusion, contest, publishing
from contender.conclusion import Contest
from contender.contest import Champion
from contender.records import AliasEntry, Snapshot
from contender.registry import Guard
from contender.run import Run
from contender.showing.verdict import comparison_page
from tasks.artifacts import leave
from tasks.policy import stage_task
from tasks.turn import only_writer


@stage_task
def find_champion(run: Run, seen: Snapshot) -> Champion:
    return contest.find_champion(run, seen, _guard(run))


@stage_task
def publish(run: Run, contest: Contest) -> Path:
    published = publishing.publish(run, contest)
    champion = contest.champion.release
    leave(
        run,
        "comparison",
        lambda: comparison_page(publishing.comparisons(run, contest, published), champion),
        f"{contest.challenger.release} against {champion or 'no champion yet'}",
    )
    return published.report


@stage_task
def promote(run: Run, contest: Contest) -> AliasEntry:
    return conclusion.promote(run, contest, _guard(run))


def _guard(run: Run) -> Guard | None:
    """The lease that keeps the pipeline's other runs out, taken once a write needs it."""
    return only_writer(run) if run.pipeline.spec.promote.single_writer else None
