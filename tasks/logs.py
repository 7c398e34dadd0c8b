"""The notes of every stage as lines of the run's log, where the Prefect UI shows them, and what the stages' processes print as well."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from contender.progress import Note, listening
from contender.text import shorten, terminal_safe

MOVED_SECONDS = 30.0  # between two lines on how far a stage is
LINE = 2_000  # characters


def logged() -> AbstractContextManager[None]:
    """Inside, notes are logged too."""
    return listening(RunLog())


class RunLog:
    """A listener that logs what is worth a line. Prefect's handler sends lines from a thread of its own: nothing waits for them."""

    def __init__(self) -> None:
        self._moved: dict[str, float] = {}

    def __call__(self, note: Note) -> None:
        if note.kind == "started":
            self._moved[note.stage] = time.monotonic()
        line = self._line(note)
        if line is None:
            return
        level = logging.WARNING if note.kind == "warned" else logging.INFO
        try:
            get_run_logger().log(level, "%s", shorten(terminal_safe(shorten(f"{note.stage}: {line}", LINE)), LINE))
        except MissingContextError:  # a stage that is called outside a run
            return

    def _line(self, note: Note) -> str | None:
        if note.kind == "moved":
            last = self._moved.setdefault(note.stage, time.monotonic())
            if time.monotonic() - last < MOVED_SECONDS:
                return None
            self._moved[note.stage] = time.monotonic()
            of = f"{note.done:,.0f} of {note.total:,.0f} · " if note.done is not None and note.total else ""
            return f"{of}{note.text}"
        if note.kind == "finished":
            took = "found in the workspace" if note.cached else f"{note.seconds or 0:.1f} s"
            return f"{note.text} ({took})"
        return {"started": "started", "said": f"| {note.text}"}.get(note.kind, note.text)
