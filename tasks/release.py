"""Policy of staging: stores that do not answer are tried again, and finished files are not sent twice."""

from __future__ import annotations

from contender.compression import Compression
from contender.models import ResolvedBase
from contender.records import AliasEntry, QualityReport, ReleaseManifest, Snapshot, SplitReport, TrainReport
from contender.run import Run
from contender.searching import SearchReport
from contender.selecting import SelectionReport
from contender.stages import model as stages
from contender.workspace import Staged
from tasks.policy import stage_task


@stage_task
def stage_release(
    run: Run,
    base: ResolvedBase,
    model: Staged[TrainReport],
    split: Staged[SplitReport],
    snapshot: Staged[Snapshot],
    quality: Staged[QualityReport],
    parent: AliasEntry | None,
    compressed: Staged[Compression] | None = None,
    student: ResolvedBase | None = None,
    search: SearchReport | None = None,
    selection: SelectionReport | None = None,
) -> ReleaseManifest:
    return stages.stage_release(
        run, base, model, split, snapshot, quality, parent, compressed, student, search, selection
    )
