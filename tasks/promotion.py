"""Policy of everything that reads or moves an alias: transient errors are tried again, and a number once tried is never abandoned."""

from __future__ import annotations

from pathlib import Path

from contender import conclusion, contest
from contender.conclusion import Contest
from contender.contest import Champion
from contender.records import AliasEntry, Snapshot
from contender.run import Run
from tasks.policy import stage_task


@stage_task
def find_champion(run: Run, seen: Snapshot) -> Champion:
    return contest.find_champion(run, seen)


@stage_task
def publish(run: Run, contest: Contest) -> Path:
    return conclusion.publish(run, contest)


@stage_task
def promote(run: Run, contest: Contest) -> AliasEntry:
    return conclusion.promote(run, contest)
