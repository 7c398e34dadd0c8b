"""Checkpoints of a job: written whole or not at all, read only when every byte is as it was written.

    <job>/checkpoints/00000420/…               what the training needs to go on from step 420
    <job>/checkpoints/00000420/checkpoint.json last: the job's digest, the attempt, and size and sha256 of every file

The two newest are kept, so that one damaged by a power cut costs minutes and not the job. A checkpoint holds all that another
machine needs to continue: weights, optimizer, the best weights so far, and what the job had decided by measuring.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from contender.files import describe_files, fsync_folder, write_durably
from contender.records import FileEntry, Record

MANIFEST = "checkpoint.json"
KEPT = 2

log = logging.getLogger(__name__)


class CheckpointManifest(Record):
    """The commit marker of a checkpoint."""

    job: str
    step: int
    attempt: int = 1
    seconds: float = Field(description="in the training loop so far, over all attempts")
    written: int = Field(default=0, description="checkpoints before this one")
    writing_seconds: float = Field(default=0.0, description="that those took, part of `seconds`")
    joules: float | None = Field(default=None, description="that the device drew in those seconds; None: not told")
    files: tuple[FileEntry, ...]


class Checkpoints:
    """The checkpoints of one job; those of another job in the same folder are never read."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder = folder
        self.job = job

    def write(self, step: int, fill: Callable[[Path], None], **about: Any) -> Path:
        """A new checkpoint that `fill(folder)` writes; `about` are further fields of its manifest. Older ones beyond the kept go."""
        final = self.path(step)
        with self._temporary(final) as temporary:
            fill(temporary)
            whole = CheckpointManifest(job=self.job, step=step, files=describe_files(temporary), **about)
            write_durably(temporary / MANIFEST, whole.to_bytes())
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
        fsync_folder(self.folder)
        for old in self._folders()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def path(self, step: int) -> Path:
        return self.folder / f"{step:08d}"

    def latest(self) -> tuple[Path, CheckpointManifest] | None:
        """The newest whole checkpoint of this job; damaged ones are named in the log and skipped."""
        return next(self._whole(), None)

    def newest_step(self) -> int | None:
        """The step of the newest one, whole or not: by its name alone."""
        return next((int(folder.name) for folder in self._folders()), None)

    def forget_after(self, step: int) -> None:
        """Removes those behind `step`: damaged, or they would have been continued from; left there they crowd out whole ones."""
        for folder in self._folders():
            if int(folder.name) > step:
                shutil.rmtree(folder, ignore_errors=True)

    def _whole(self) -> Iterator[tuple[Path, CheckpointManifest]]:
        for folder in self._folders():
            try:
                manifest = CheckpointManifest.from_bytes((folder / MANIFEST).read_bytes())
                whole = manifest.job == self.job and describe_files(folder, leave_out={MANIFEST}) == manifest.files
            except (OSError, ValidationError) as error:
                log.warning("checkpoint %s cannot be read and is skipped: %s", folder, error)
                continue
            if whole:
                yield folder, manifest
            else:
                log.warning("checkpoint %s is damaged or of another job and is skipped", folder)

    def _folders(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if path.name.isdigit()), reverse=True)

    @contextmanager
    def _temporary(self, final: Path) -> Iterator[Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*"):  # the job's lock is ours: nobody else is writing here
            shutil.rmtree(left, ignore_errors=True)
        temporary = self.folder / f".{final.name}-{os.getpid()}"
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
