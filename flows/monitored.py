"""The champion on rows that are new to it, without a run: what the watcher asks before a run is due for another reason."""

from __future__ import annotations

from contender.contest import Champion
from contender.errors import DataError
from contender.monitoring import Monitored
from contender.records import Snapshot
from contender.run import Run
from tasks.monitoring import degradation, find_live, is_monitored, monitor
from tasks.quality import check_quality
from tasks.snapshot import take_snapshot
from tasks.split import split_rows


def score_new_rows(run: Run, seen: Snapshot) -> Monitored:
    """Scores the champion on the rows of `seen` that are new to it, where `triggers.degradation` asks for that.

    Its stages are those that a run begins with, so that the run that follows finds them in the workspace. Data that cannot be used
    is left to a run to decide on.
    """
    if run.pipeline.spec.triggers.degradation is None or not seen.source.files:
        return Monitored()
    champion = find_live(run)
    if champion.manifest is None:
        return Monitored()
    refused = None if is_monitored(run, champion, seen) else _refused(run, champion, seen)
    return Monitored(degraded=degradation(run, champion), refused=refused)


def _refused(run: Run, champion: Champion, seen: Snapshot) -> str | None:
    """Scores the rows; or why they cannot be."""
    try:
        snapshot = take_snapshot(run, seen, champion.manifest)
        quality = check_quality(run, snapshot, champion.manifest)
        if not quality.record.passed:
            return quality.record.message
        monitor(run, champion, snapshot.record, split_rows(run, snapshot, quality))
    except DataError as error:
        return error.in_one_line
    return None
