"""Policy of the judge: its ledger is asked again where the registry does not answer; a retry finds the same look."""

from __future__ import annotations

from contender import contest
from contender.contest import Champion
from contender.records import ReleaseManifest, SplitReport, Verdict
from contender.run import Run
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def judge_challenger(run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]) -> Verdict:
    verdict = contest.judge_challenger(run, challenger, champion, split)
    rows = [(rule.rule, rule.outcome, rule.sentence) for rule in verdict.rules]
    table(run, "verdict", ("rule", "outcome", "why"), rows, f"{verdict.verdict}: {verdict.sentence}")
    return verdict
