"""A stage through the workspace, and the notes that tell of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contender.progress import Finding, Note, tell
from contender.records import Record
from contender.run import Run, StageTime
from contender.workspace import Staged

R = TypeVar("R", bound=Record)


def staged(
    run: Run,
    stage: str,
    key: str,
    record: type[R],
    compute: Callable[[Path], R],
    found: Callable[[R], str],
    key_of: Callable[[R], str] | None = None,
    finding: Callable[[R], Finding] = lambda _: "good",
) -> Staged[R]:
    """Runs a stage through the workspace, and tells what it found."""
    tell(Note(stage, "started"))
    waiting = Note(stage, "moved", "waiting for another run, which is at the same work")
    done = run.workspace.stage(stage, key, record, compute, key_of, on_wait=lambda: tell(waiting))
    finish(run, stage, done.key, found(done.record), done.cached, done.seconds, finding(done.record))
    return done


def finish(run: Run, stage: str, key: str, text: str, cached: bool, seconds: float, finding: Finding = "good") -> None:
    run.stages.append(StageTime(name=stage, key=key, cached=cached, seconds=0.0 if cached else round(seconds, 3)))
    tell(Note(stage, "finished", text, cached=cached, seconds=seconds, finding=finding, key=key))


def rows_told(stage: str, text: str, total: int | None = None) -> Callable[[int], None]:
    return lambda rows: tell(Note(stage, "moved", f"{text}: {rows:,} rows", part=text, done=rows, total=total))


def bytes_told(stage: str, folder: Path) -> Callable[[int], None]:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sent = [0]

    def told(count: int) -> None:
        sent[0] += count
        text = f"{sent[0] / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        tell(Note(stage, "moved", text, part="sending", done=sent[0], total=total))

    return told
