"""What a stage leaves in the Prefect UI. An artifact never fails a run: the registry holds the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import TypeVar
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from contender.progress import Note
from contender.run import Run
from contender.showing.markdown import bar, safe
from contender.text import shorten, terminal_safe

T = TypeVar("T")

UPDATE_SECONDS = 5  # between updates of a progress bar: each is a request to the server
LAST_UPDATE_SECONDS = 2  # that a stage's end waits for the last one
ANSWER_SECONDS = 10.0  # that a stage waits for the server to take its page
QUIET_SECONDS = 300  # without pages, once a server did not take one
DESCRIPTION = 500  # characters

_quiet_until = [0.0]


def leave(run: Run, name: str, text: Callable[[], str], description: str, *, cached: bool = False) -> None:
    """Leaves a page for people, made by `text`; `description` is its one line in lists. Whatever goes wrong is only logged."""
    said = safe(f"{description} (found in the workspace)" if cached else description, DESCRIPTION)

    def send(page: str) -> None:
        create_markdown_artifact(markdown=page, key=_key(run, name), description=said)

    try_out(f"the page {name} was not stored", text, send)


def try_out(what: str, make: Callable[[], T], send: Callable[[T], object]) -> None:
    """Makes something that only people look at, and sends it to the server; nothing fails by it, and nothing waits long.

    `what` is logged where it does not work, and then the server is left alone for a while. Prefect's client repeats a request for a
    minute; it does so in a thread of its own.
    """
    if FlowRunContext.get() is None or time.monotonic() < _quiet_until[0]:
        return
    faults: list[object] = []

    def guarded(act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever the server answers, the stage's result stands
            faults.append(error)

    made: list[T] = []
    guarded(lambda: made.append(make()))
    if made:
        sending = threading.Thread(target=copy_context().run, args=(guarded, lambda: send(made[0])), daemon=True)
        sending.start()
        sending.join(ANSWER_SECONDS)
        if sending.is_alive():
            faults.append(f"no answer within {ANSWER_SECONDS:g} s")
        if faults:
            _quiet_until[0] = time.monotonic() + QUIET_SECONDS
    if faults:
        get_run_logger().warning("%s: %s", what, shorten(terminal_safe(str(faults[0])), DESCRIPTION))


class ProgressBar:
    """A progress artifact that follows the notes of one stage, from a thread of its own: a server that hangs holds up nobody."""

    def __init__(self, run: Run, stage: str) -> None:
        self._key = _key(run, stage)
        self._stage = stage
        self._artifact: UUID | None = None
        self._latest: tuple[float, str] | None = None
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ProgressBar:
        if FlowRunContext.get() is not None:
            follow = copy_context().run  # Prefect finds the run that an artifact belongs to in the context
            self._thread = threading.Thread(target=follow, args=(self._follow,), name="progress-bar", daemon=True)
            self._thread.start()
        return self

    def __call__(self, note: Note) -> None:
        if note.stage == self._stage and note.kind == "moved" and note.total:
            self._latest = (100.0 * (note.done or 0) / note.total, note.text)
            self._changed.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        if error is None and self._latest is not None:
            self._latest = (100.0, "done")
        self._ended.set()
        self._changed.set()
        self._thread.join(LAST_UPDATE_SECONDS)

    def _follow(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            last = self._ended.is_set()
            if self._latest is not None and not self._update(*self._latest):
                return
            if last:
                return
            self._ended.wait(UPDATE_SECONDS)

    def _update(self, percent: float, text: str) -> bool:
        """False where the server did not take it: a progress bar is not worth asking again."""
        said = f"{bar(percent / 100)} {safe(text, DESCRIPTION)}"
        try:
            if self._artifact is None:
                made = create_progress_artifact(progress=percent, key=self._key, description=said)
                self._artifact = made if isinstance(made, UUID) else None
            else:
                update_progress_artifact(artifact_id=self._artifact, progress=percent, description=said)
        except Exception as error:  # noqa: BLE001
            get_run_logger().warning("the progress of %s was not stored: %s", self._stage, error)
            return False
        return True


def _key(run: Run, name: str) -> str:
    return f"{run.pipeline.spec.name}-{name}"
