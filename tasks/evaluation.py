"""Policy of the evaluation: the registry is read again where it does not answer; both models are shown side by side."""

from __future__ import annotations

from contender import contest
from contender.conclusion import nested_metrics
from contender.contest import Champion
from contender.records import Evaluation, ReleaseManifest, SplitReport
from contender.run import Run
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def evaluate_both(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]
) -> Staged[Evaluation]:
    evaluation = contest.evaluate_both(run, challenger, champion, split)
    rows = [
        (name, metric, f"{value:.4f}", f"{models['champion'][metric]:.4f}" if "champion" in models else "–")
        for name, models in nested_metrics(evaluation.record).items()
        for metric, value in models["challenger"].items()
    ]
    description = f"{challenger.release} against {champion.release or 'no champion yet'}"
    table(run, "evaluation", ("set", "metric", "challenger", "champion"), rows, description)
    return evaluation
