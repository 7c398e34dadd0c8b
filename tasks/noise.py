"""Policy of the noise record: the registry is asked again where it does not answer; the spread is shown in the UI."""

from __future__ import annotations

from contender.models import ResolvedBase
from contender.noise import NoiseReport, Trial
from contender.records import SplitReport
from contender.run import Run
from contender.showing.series import noise_page
from contender.stages import noise as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def keep_noise(run: Run, base: ResolvedBase, split: Staged[SplitReport], trials: list[Trial]) -> NoiseReport:
    report = stages.keep_noise(run, base, split, trials)
    leave(run, "noise", lambda: noise_page(report), report.sentence)
    return report
