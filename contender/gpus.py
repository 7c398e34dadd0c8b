"""One training per GPU: which there are, and how a run takes one of them.

A lock of this machine's covers the runs of this user; a place beside it, which the outer rings give, covers those of others.
`nvidia-smi` is there wherever a driver is, and asking it costs no import of torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from contender import stopping
from contender.progress import Note, tell
from contender.turn import Lock

VISIBLE = "CUDA_VISIBLE_DEVICES"
ASK = ("--query-gpu=index,uuid", "--format=csv,noheader")
ASK_TIMEOUT = 30  # seconds: a driver that wakes its devices for the answer takes some
LOOK_SECONDS = 0.5


class Place(Protocol):
    """Another claim to a device, beside the lock of this machine."""

    lease: str | None

    def take(self) -> bool: ...
    def free(self, lease: str | None) -> None: ...
    def release(self) -> None: ...


def visible_gpus() -> list[str]:
    """UUIDs of the NVIDIA GPUs that this process may use, in the driver's order; none where there is no driver.

    CUDA_VISIBLE_DEVICES is respected: numbers, UUIDs and their beginnings, and MIG instances, which are taken as they are named.
    """
    program = shutil.which("nvidia-smi")
    asked = os.environ.get(VISIBLE)
    if program is None or asked in ("", "-1", "NoDevFiles"):
        return []
    try:
        said = subprocess.run([program, *ASK], capture_output=True, text=True, timeout=ASK_TIMEOUT, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    pairs = (line.split(",") for line in said.splitlines() if line.count(",") == 1)
    found = {index.strip(): uuid.strip() for index, uuid in pairs}
    if asked is None:
        return list(found.values())
    chosen = []
    for name in asked.split(","):
        uuid = next((u for i, u in found.items() if name == i or (len(name) > 4 and u.startswith(name))), None)
        if uuid is None and not name.startswith("MIG-"):
            break  # CUDA stops at the first that is not there, too
        chosen.append(uuid or name)
    return chosen


@contextmanager
def hold_gpu(place: Callable[[str], Place] | None = None, flow_run_id: str | None = None) -> Iterator[dict[str, str]]:
    """Takes a free GPU, waiting for one; gives the environment that shows it alone. Empty where there is none."""
    gpus = visible_gpus()
    if not gpus:
        yield {}
        return
    gpu, lock, claim = _taken(gpus, place, flow_run_id)
    try:
        yield {VISIBLE: gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    finally:
        if claim:
            claim.release()
        lock.release()


def _taken(
    gpus: list[str], place: Callable[[str], Place] | None, flow_run_id: str | None
) -> tuple[str, Lock, Place | None]:
    told = False
    while True:
        for gpu in gpus:
            lock = Lock(f"gpu-{gpu.replace('/', '-')}")
            if not lock.take():
                continue
            claim = place(gpu) if place else None
            if claim:
                claim.free(lock.before.lease if lock.before else None)
            if claim is None or claim.take():
                lock.sign(flow_run_id, claim.lease if claim else None)
                return gpu, lock, claim
            lock.release()
        if not told:
            tell(Note("gpu", "warned", f"waiting for a GPU: {len(gpus)} of {len(gpus)} in use"))
            told = True
        stopping.check()
        time.sleep(LOOK_SECONDS)
