"""Policy of the judge: its ledger is asked again where the registry does not answer; a retry finds the same look. Its rules are shown."""

from __future__ import annotations

from contender.compression import Compression
from contender.contest import Champion
from contender.records import ReleaseManifest, SplitReport, Verdict
from contender.run import Run
from contender.showing.verdict import verdict_page
from contender.stages import judge
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def judge_challenger(
    run: Run,
    challenger: ReleaseManifest,
    champion: Champion,
    split: Staged[SplitReport],
    compressed: Staged[Compression] | None = None,
) -> Verdict:
    verdict = judge.judge_challenger(run, challenger, champion, split, compressed)
    leave(run, "verdict", lambda: verdict_page(verdict), f"{verdict.verdict}: {verdict.sentence}")
    return verdict
