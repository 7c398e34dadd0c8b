"""Policy of the snapshot: sources that do not answer are tried again; its files are shown, the new ones first, and what was left out."""

from __future__ import annotations

from contender.datafiles import files_of_release
from contender.errors import ContenderError
from contender.records import ReleaseManifest, Snapshot
from contender.run import Run
from contender.showing.data import snapshot_page
from contender.showing.markdown import counted
from contender.stages import data as stages
from contender.workspace import Staged
from tasks.artifacts import leave
from tasks.naming import name_after
from tasks.policy import stage_task


@stage_task
def look(run: Run) -> Snapshot:
    seen = stages.look(run)
    name_after(run, seen)
    return seen


@stage_task
def take_snapshot(run: Run, seen: Snapshot, champion: ReleaseManifest | None) -> Staged[Snapshot]:
    snapshot = stages.take_snapshot(run, seen)
    source = snapshot.record.source
    told = f"{counted(source.rows, 'row')} in {counted(len(source.files), 'file')}, {len(source.skipped):,} left out"
    leave(
        run,
        "snapshot",
        lambda: snapshot_page(snapshot.record, _files_of(run, champion)),
        told,
        cached=snapshot.cached,
    )
    return snapshot


def _files_of(run: Run, champion: ReleaseManifest | None) -> Snapshot | None:
    """What the champion was trained on; None where nobody knows, or its record cannot be read now: it is only shown."""
    try:
        return files_of_release(run.registry, champion.release) if champion else None
    except ContenderError:
        return None
