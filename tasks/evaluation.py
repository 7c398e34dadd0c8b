"""Policy of the evaluation: the registry is read again where it does not answer; the models are ranked for people."""

from __future__ import annotations

from contender import contest
from contender.contest import Champion
from contender.plan import judged_set
from contender.records import Evaluation, ReleaseManifest, SplitReport
from contender.run import Run
from contender.showing.model import candidates, leaderboard
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def evaluate_both(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]
) -> Staged[Evaluation]:
    evaluation = contest.evaluate_both(run, challenger, champion, split)
    on, primary = judged_set(run.pipeline), run.pipeline.spec.evaluate.metrics[0]
    leave(
        run,
        "leaderboard",
        lambda: leaderboard(candidates(evaluation.record, challenger, champion.manifest, on), primary),
        f"{challenger.release} against {champion.release or 'no champion yet'}",
        cached=evaluation.cached,
    )
    return evaluation
