"""Policy of the snapshot: sources that do not answer are tried again; what was left out is shown."""

from __future__ import annotations

from contender.records import Snapshot
from contender.run import Run
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import table
from tasks.policy import stage_task


@stage_task
def look(run: Run) -> Snapshot:
    return stages.look(run)


@stage_task
def take_snapshot(run: Run, seen: Snapshot) -> Staged[Snapshot]:
    snapshot = stages.take_snapshot(run, seen)
    if not snapshot.cached:
        sets = {"source": snapshot.record.source} | {f"golden {name}": s for name, s in snapshot.record.golden.items()}
        read = [
            (name, file.path, f"{file.rows:,}", f"{file.size:,}") for name, s in sets.items() for file in s.files[:50]
        ]
        skipped = [(name, file.path, "skipped", file.reason) for name, s in sets.items() for file in s.skipped[:50]]
        table(
            run, "snapshot", ("set", "file", "rows", "bytes"), read + skipped, f"Snapshot {snapshot.record.digest[:12]}"
        )
    return snapshot
