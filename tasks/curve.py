"""Policy of the curve: a shared workspace that does not answer is asked again; what was found is shown in the UI."""

from __future__ import annotations

from collections.abc import Sequence

from contender.curve import CurveReport
from contender.noise import Trial
from contender.records import SplitReport
from contender.run import Run
from contender.showing.series import curve_page
from contender.stages import curve as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def take_fraction(run: Run, split: Staged[SplitReport], fraction: float) -> Staged[SplitReport]:
    return stages.take_fraction(run, split, fraction)


@stage_task
def draw_curve(
    run: Run,
    split: Staged[SplitReport],
    parts: Sequence[Staged[SplitReport]],
    fractions: Sequence[float],
    trials: Sequence[Trial],
) -> CurveReport:
    report = stages.draw_curve(run, split, parts, fractions, trials)
    leave(run, "curve", lambda: curve_page(report), report.sentence)
    return report
