"""Policy of the split: counts per set, and what was removed so that nothing held out leaks, are shown."""

from __future__ import annotations

from contender.records import QualityReport, Snapshot, SplitReport
from contender.run import Run
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def split_rows(run: Run, snapshot: Staged[Snapshot], quality: Staged[QualityReport]) -> Staged[SplitReport]:
    split = stages.split_rows(run, snapshot, quality)
    if not split.cached:
        rows = [(name, f"{count:,}") for name, count in split.record.rows.items()]
        rows += [
            ("removed: text of a held-out row", f"{split.record.removed_leaks:,}"),
            ("removed: nearly the text of a held-out row", f"{split.record.removed_near_duplicates:,}"),
            ("removed: repeated held-out row", f"{split.record.removed_duplicates:,}"),
            ("quarantined: held-out row that contradicts another", f"{split.record.removed_conflicts:,}"),
        ]
        table(run, "split", ("set", "rows"), rows, f"{len(split.record.labels)} labels")
    return split
