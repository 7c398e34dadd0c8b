"""The one cache: every stage's output under its key, verified when it is found again.

    <workspace>/stages/<stage>/<key>/…            what the stage wrote
    <workspace>/stages/<stage>/<key>/stage.json   last: the record, seconds, and size and sha256 of every file
    <workspace>/jobs/<key>/                       a training job's checkpoints, kept until its model is staged
    <workspace>/records/…                         small records that every run in this workspace sees, attempts among them

A workspace that is an S3 prefix has its folder in this machine's cache, and shares finished stages and records under the prefix
(contender/sharing.py), and the checkpoints of running jobs (contender/training/sharing.py).

A retry, a crash and a re-run are one thing: what exists and is whole is used, the rest is computed. A missing, shortened or
changed file makes the stage a miss, never an error.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from contender.errors import DiskFull, UsageError
from contender.files import describe_files, empty_folder, filling, put_in_place, write_durably
from contender.records import Record, sha256_hex
from contender.sharing import MANIFEST, SharedStages, StageManifest
from contender.store import Below, LocalStore, Store
from contender.text import shorten

R = TypeVar("R", bound=Record)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_FOLDER = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


@dataclass(frozen=True)
class Staged(Generic[R]):
    """A finished stage: its record, its folder, and whether it was found or computed now."""

    stage: str
    key: str
    record: R
    folder: Path
    cached: bool
    seconds: float


class Workspace:
    """A local folder of finished stages and running jobs; with `shared`, what workers on several machines have in common."""

    def __init__(self, root: Path, shared: Store | None = None) -> None:
        self.root = root
        self.shared = shared
        self._stages = SharedStages(shared) if shared else None

    def find(self, stage: str, key: str, record_type: type[R]) -> Staged[R] | None:
        """The finished stage, every file checked against its sha256; None where it is absent, damaged or of another shape."""
        folder = self.stage_folder(stage, key)
        try:
            manifest = StageManifest.from_bytes((folder / MANIFEST).read_bytes())
            record = record_type.from_bytes(manifest.record.encode())
            whole = bool(manifest.files) and describe_files(folder, leave_out={MANIFEST}) == manifest.files
        except (OSError, ValueError):  # pydantic's errors among the latter, and what a NUL in a path gives
            return None
        return Staged(stage, key, record, folder, cached=True, seconds=manifest.seconds) if whole else None

    def stage(
        self,
        stage: str,
        key: str,
        record_type: type[R],
        compute: Callable[[Path], R],
        key_of: Callable[[R], str] | None = None,
        on_wait: Callable[[], None] | None = None,
        share: bool = True,
    ) -> Staged[R]:
        """The stage's output: found whole, or computed by `compute(folder)` into an empty folder; by one run at a time.

        A run that waits for another's attempt at the same stage hears of it through `on_wait`, and then finds its output. `key_of`
        gives the key to keep it under, where only the record tells what was computed from. Raises whatever `compute` raises,
        leaving no trace of the attempt; DiskFull where the workspace has no space left. `share`: whether it is worth carrying to
        other machines; what is computed here is kept here before it is sent, and sent again where that failed.
        """
        done = self.find(stage, key, record_type)
        if done is None:
            with translated_os_errors(self.root), filling(self.stage_folder(stage, key), on_wait) as attempt:
                try:
                    done = self.find(stage, key, record_type)  # by the run that this one waited for
                    done = done or (self._fetched(stage, key, record_type, attempt) if share else None)
                    done = done or self._computed(stage, key, compute, key_of, attempt)
                finally:
                    shutil.rmtree(attempt, ignore_errors=True)
        if share:
            self._push(done)
        self.touch([(stage, done.key)])
        return done

    def touch(self, used: Iterable[tuple[str, str]]) -> None:
        """Says that these stages (name, key) are of use now, for whoever cleans."""
        for stage, key in used:
            with suppress(OSError):
                os.utime(self.stage_folder(stage, key) / MANIFEST)

    def job_folder(self, key: str) -> Path:
        """Where a training job keeps its checkpoints; it outlives the attempts that write it."""
        folder = self.root / "jobs" / key
        with translated_os_errors(self.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def records(self) -> Store:
        """What runs tell each other: small objects, created only where none is, whoever else writes."""
        return Below(self.shared, "records") if self.shared else LocalStore(self.root / "records")

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder for work that leaves nothing in it, one run's at a time; what a killed run left there goes first."""
        with translated_os_errors(self.root), filling(self.root / name) as folder:
            empty_folder(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _fetched(self, stage: str, key: str, record_type: type[R], attempt: Path) -> Staged[R] | None:
        """What another machine has finished."""
        if self._stages is None:
            return None
        empty_folder(attempt)
        if not self._stages.fetch(stage, key, attempt):
            return None
        put_in_place(attempt, self.stage_folder(stage, key))
        return self.find(stage, key, record_type)

    def _push(self, done: Staged[R]) -> None:
        sent = done.folder.with_name(f".{done.key}.sent")
        manifest = (done.folder / MANIFEST).read_bytes()
        if self._stages is None or (sent.exists() and sent.read_text() == sha256_hex(manifest)):
            return
        self._stages.push(done.stage, done.key, done.folder)
        with translated_os_errors(self.root):
            sent.write_text(sha256_hex(manifest))

    def _computed(
        self,
        stage: str,
        key: str,
        compute: Callable[[Path], R],
        key_of: Callable[[R], str] | None,
        attempt: Path,
    ) -> Staged[R]:
        started = time.monotonic()
        empty_folder(attempt)
        record = compute(attempt)
        key = key_of(record) if key_of else key
        staged = Staged(
            stage, key, record, self.stage_folder(stage, key), cached=False, seconds=time.monotonic() - started
        )
        # Under another key than the lock's, a whole one may stand already, and somebody may be reading it.
        if key_of is None or self.find(stage, key, type(record)) is None:
            self._commit(staged, attempt)
        return staged

    def _commit(self, staged: Staged[R], attempt: Path) -> None:
        manifest = StageManifest(
            stage=staged.stage,
            key=staged.key,
            seconds=staged.seconds,
            files=describe_files(attempt),
            record=staged.record.to_bytes().decode(),
        )
        write_durably(attempt / MANIFEST, manifest.to_bytes())
        put_in_place(attempt, staged.folder)

    def stage_folder(self, stage: str, key: str) -> Path:
        """Where a stage's output lies, or would."""
        return self.root / "stages" / stage / key


class translated_os_errors:  # noqa: N801 - reads as a context manager, like contextlib.suppress
    """Turns a full disk and a folder that cannot be written into errors that say what to do."""

    def __init__(self, where: Path, advice: str = "Set workspace: to a folder that you can write.") -> None:
        self.where = where
        self.advice = advice

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError) and "\0" in str(self.where):
            raise UsageError(f"cannot write to {str(self.where)!r}: a path holds no NUL", self.advice) from error
        if not isinstance(error, OSError):
            return
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"no space left in {self.where}", "Free some space and run the same command: finished stages are kept."
            ) from error
        if error.errno in NO_FOLDER or (error.errno == errno.ENOENT and self._is_on_the_way(error.filename)):
            where = shorten(str(error.filename or self.where), 300)
            raise UsageError(f"cannot write to {where}: {error.strerror}", self.advice) from error

    def _is_on_the_way(self, missing: object) -> bool:
        """Whether a path that is not there is the folder itself or above it: nothing can be made below /proc, for one."""
        return missing is not None and self.where.is_relative_to(str(missing))
