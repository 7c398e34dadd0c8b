"""Policy of the quality gate: its report is shown, failing expectations first; bad data is a result, not an error."""

from __future__ import annotations

from pathlib import Path

from contender.conclusion import quality_places
from contender.links import data_docs_link
from contender.records import QualityReport, ReleaseManifest, Snapshot
from contender.run import Run
from contender.showing.data import quality_page
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.policy import stage_task


@stage_task
def check_quality(run: Run, snapshot: Staged[Snapshot], champion: ReleaseManifest | None) -> Staged[QualityReport]:
    quality = stages.check_quality(run, snapshot, champion)
    places = quality_places(quality)
    docs = data_docs_link(run, Path(places["data_docs"])) if "data_docs" in places else None
    leave(
        run,
        "quality",
        lambda: quality_page(quality.record, docs, places.get("quarantine")),
        quality.record.message,
        cached=quality.cached,
    )
    return quality
