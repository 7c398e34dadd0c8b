"""Policy of the quality gate: its report is shown, failing expectations first; bad data is a result, not an error."""

from __future__ import annotations

from contender.records import QualityReport, ReleaseManifest, Snapshot
from contender.run import Run
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def check_quality(run: Run, snapshot: Staged[Snapshot], champion: ReleaseManifest | None) -> Staged[QualityReport]:
    quality = stages.check_quality(run, snapshot, champion)
    if not quality.cached:
        results = sorted(quality.record.results, key=lambda result: (result.success, result.severity))
        rows = [
            (
                "not applicable" if not r.applicable else "passed" if r.success else "FAILED",
                r.severity,
                r.sentence or r.expectation,
                r.observed or f"{r.unexpected:,} of {r.checked:,}",
            )
            for r in results
        ]
        table(run, "quality", ("outcome", "severity", "expectation", "seen"), rows, quality.record.message)
    return quality
