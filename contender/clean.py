"""What a workspace holds and nothing needs any more.

Everything in a workspace can be computed again or is a left-over, so the question is only what is still of use: what a run used
lately, what an interrupted training continues from, what is being written right now. A stage's manifest carries the time of its
last use; a training touches the stages that it reads from while it runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contender.errors import UsageError
from contender.sharing import MANIFEST

IN_USE_SECONDS = 3600.0  # what was touched since is never removed, whatever is asked


@dataclass(frozen=True)
class Leftover:
    """Something that may go: its place below the workspace, bytes, seconds since it was last of use, and why it may go."""

    path: Path
    size: int
    age: float
    why: str


def leftovers(root: Path, older_than: float) -> list[Leftover]:
    """What nothing used for `older_than` seconds, the largest first; UsageError where `root` is no workspace."""
    if root.is_symlink() or not (root / "stages").is_dir():
        raise UsageError(
            f"{root} is no workspace: it has no folder stages/",
            "Name a pipeline's YAML, or the folder of its workspace:.",
        )
    most = max(older_than, IN_USE_SECONDS)
    found = [one for one in _candidates(root) if one.age >= (IN_USE_SECONDS if one.why == HALF else most)]
    return sorted(found, key=lambda one: -one.size)


def remove(found: list[Leftover]) -> int:
    """Removes them, less what came into use or is held meanwhile; the bytes that were freed."""
    freed = 0
    for one in found:
        with _unheld(one.path) as free:
            if free and _age(one.path) >= min(one.age, IN_USE_SECONDS):
                _remove(one.path)
                freed += one.size
    return freed


HALF = "half done, and nobody is at it"


def _candidates(root: Path) -> Iterator[Leftover]:
    for stage in _folders(root / "stages"):
        for entry in _entries(stage):
            if entry.name.startswith(".") and entry.name.endswith(".sent"):
                continue  # goes with its stage
            if entry.name.startswith("."):
                yield _leftover(entry, HALF)
            else:
                yield _leftover(entry, "no run used it since" if (entry / MANIFEST).exists() else HALF)
    for job in _entries(root / "jobs"):
        yield _leftover(job, "a training that nobody continued" if job.is_dir() else HALF)
    for report in _entries(root / "reports"):
        yield _leftover(report, "an old report; the registry keeps its own")
    for record in _files(root / "records"):
        yield _leftover(record, "an old run's record")
    for entry in _entries(root):
        if entry.name.startswith(".") and entry.name.endswith((".partial", ".old")):
            yield _leftover(entry, HALF)


def _leftover(path: Path, why: str) -> Leftover:
    return Leftover(path, _size(path), _age(path), why)


def _age(path: Path) -> float:
    """Seconds since it was last of use: of a stage by its manifest, else by the newest thing in it."""
    manifest = path / MANIFEST
    try:
        if manifest.is_file():
            return time.time() - manifest.stat().st_mtime
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        newest: float = max(entry.lstat().st_mtime for entry in (path, *inside))
        return time.time() - newest
    except OSError:  # it went away
        return 0.0


def _size(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
    return sum(entry.lstat().st_size for entry in inside if entry.is_symlink() or entry.is_file())


@contextmanager
def _unheld(path: Path) -> Iterator[bool]:
    """Whether no process holds it: a folder being filled, or the lock of a training job."""
    lock = path / "lock" if (path / "lock").is_file() else path
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # a link; or it went away
        yield path.is_symlink()
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    (path / MANIFEST).unlink(missing_ok=True)  # first: what is half removed is no stage
    shutil.rmtree(path, ignore_errors=True)
    path.with_name(f".{path.name}.sent").unlink(missing_ok=True)


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir() and not entry.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    """What lies in it; links to folders elsewhere are not followed."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        return
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
