"""What a stage leaves in the Prefect UI. An artifact never fails a run: the registry holds the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from uuid import UUID

from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from contender.progress import Note
from contender.run import Run
from contender.text import markdown_safe

UPDATE_SECONDS = 5  # between updates of a progress bar: each is a request to the server


def table(run: Run, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], description: str) -> None:
    cells = [dict(zip(columns, (markdown_safe(str(cell)) for cell in row), strict=True)) for row in rows]
    if FlowRunContext.get() is None:
        return
    try:
        create_table_artifact(table=cells, key=_key(run, name), description=markdown_safe(description))
    except Exception as error:  # noqa: BLE001 - whatever the server answers, the stage's result stands
        get_run_logger().warning("the artifact %s was not stored: %s", name, error)


class ProgressBar:
    """A progress artifact that follows the notes of one stage."""

    def __init__(self, run: Run, stage: str) -> None:
        self.run = run
        self.stage = stage
        self.artifact: UUID | None = None
        self.last = 0.0

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, note: Note) -> None:
        if note.stage != self.stage or note.kind != "moved" or not note.total or FlowRunContext.get() is None:
            return
        if time.monotonic() - self.last < UPDATE_SECONDS:
            return
        self.last = time.monotonic()
        self._update(100.0 * (note.done or 0) / note.total, note.text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.artifact is not None:
            self._update(100.0, "done")

    def _update(self, percent: float, text: str) -> None:
        try:
            if self.artifact is None:
                made = create_progress_artifact(
                    progress=percent, key=_key(self.run, self.stage), description=markdown_safe(text)
                )
                self.artifact = made if isinstance(made, UUID) else None
            else:
                update_progress_artifact(artifact_id=self.artifact, progress=percent, description=markdown_safe(text))
        except Exception as error:  # noqa: BLE001
            get_run_logger().warning("the progress of %s was not stored: %s", self.stage, error)


def _key(run: Run, name: str) -> str:
    return f"{run.pipeline.spec.name}-{name}"
