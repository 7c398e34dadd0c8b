"""What a folder can get wrong, beside what is tried on every store: no room, or a door that is open to everyone."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from contender.store.findings import Finding
from contender.store.local import LocalStore
from contender.store.probes import Probes

LITTLE_SPACE = 2 << 30  # bytes: a few releases of a small model

Step = tuple[str, Callable[[], Finding]]


def leave_nothing(store: LocalStore) -> Callable[[Probes], None]:
    """Removes the folders that probes made; made before they do, since it remembers which ones were there."""
    made = [folder for folder in (store.root, *store.root.parents) if not folder.exists()]

    def remove(probes: Probes) -> None:
        place = store.root / probes.folder
        with suppress(OSError):
            for below in sorted(place.rglob("*"), reverse=True):
                below.rmdir()
        for folder in (place, *made):
            with suppress(OSError):  # somebody else put something there meanwhile
                folder.rmdir()

    return remove


def steps(store: LocalStore, writable: bool) -> Iterator[Step]:
    """What is looked at in a folder; where it is not `writable`, creates have shown nothing."""
    if writable:
        yield "hard links and fsync", lambda: durable(store.root)
    yield "free space", lambda: space(store.root)
    yield "access", lambda: access(store.root, writable)


def durable(root: Path) -> Finding:
    """Creates above went through link(2) and fsync; this says so, and what an answer of a network's file system is worth."""
    kind = file_system(root)
    if kind in NETWORKS:
        return Finding(
            name="hard links and fsync",
            state="warning",
            seen=f"both work; the folder lies on a network ({kind})",
            advice="Every machine must mount it with the same server; on NFS without caching of names (lookupcache=none).",
        )
    return Finding(name="hard links and fsync", state="ok", seen=f"both work ({kind or 'unknown file system'})")


NETWORKS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "lustre", "glusterfs", "fuse.glusterfs"}


def file_system(root: Path) -> str:
    """Its kind by the mount that the folder lies on; empty where the kernel does not tell."""
    path, best, kind = str(_existing(root).resolve()), "", ""
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, where, found, *_ = line.split(" ")
            where = where.replace("\\040", " ")
            if len(where) >= len(best) and (path == where or path.startswith(where.rstrip("/") + "/")):
                best, kind = where, found
    return kind


def _existing(root: Path) -> Path:
    return next(folder for folder in (root, *root.parents) if folder.exists())


def space(root: Path) -> Finding:
    free = shutil.disk_usage(_existing(root)).free
    seen = f"{free / 1e9:,.1f} GB free"
    if free < LITTLE_SPACE:
        return Finding(name="free space", state="warning", seen=seen, advice="Free some: a full disk ends a run.")
    return Finding(name="free space", state="ok", seen=seen)


def access(root: Path, writable: bool) -> Finding:
    """Whether every user of the machine can change what is live."""
    folder = _existing(root)
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH:
        return Finding(
            name="access",
            state="warning",
            seen=f"every user of this machine can write to {folder}",
            advice=f"Unless that is meant: chmod o-w {folder}",
        )
    return Finding(name="access", state="ok", seen="writable" if writable else "read-only")
