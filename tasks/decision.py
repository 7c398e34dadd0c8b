"""Policy of what a run ends with: its decision is written as long as a store needs to come back."""

from __future__ import annotations

from pathlib import Path

from contender import conclusion
from contender.conclusion import Contest
from contender.contest import Champion
from contender.records import AliasEntry, Decision, Outcome, QualityReport, Snapshot
from contender.run import Run, RunResult
from contender.run import find_decision as found_decision
from contender.workspace import Staged
from tasks.policy import stage_task


@stage_task
def find_decision(run: Run, seen: Snapshot) -> Decision | None:
    return found_decision(run, seen)


@stage_task
def conclude(run: Run, contest: Contest, outcome: Outcome, report: Path, entry: AliasEntry | None = None) -> RunResult:
    return conclusion.conclude(run, contest, outcome, report, entry)


@stage_task
def refuse(
    run: Run, snapshot: Snapshot, champion: Champion, message: str, quality: Staged[QualityReport] | None
) -> RunResult:
    return conclusion.refuse(run, snapshot, champion, message, quality)
