"""Policy of the judge: its ledger is asked again where the registry does not answer; a retry finds the same look."""

from __future__ import annotations

from contender.contest import Champion
from contender.records import ReleaseManifest, SplitReport, Verdict
from contender.run import Run
from contender.stages import judge
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def judge_challenger(run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]) -> Verdict:
    from contender.judging.words import look_sentence

    verdict = judge.judge_challenger(run, challenger, champion, split)
    rows = [(rule.rule, rule.set, rule.slice or "", rule.outcome, rule.sentence) for rule in verdict.rules]
    looks = " ".join(look_sentence(look) for look in verdict.looks)
    title = f"{verdict.verdict}: {verdict.sentence} {looks}".rstrip()
    table(run, "verdict", ("rule", "set", "slice", "outcome", "why"), rows, title)
    return verdict
