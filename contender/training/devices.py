"""What this machine computes on."""

from __future__ import annotations

import math
import os
import platform
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# OpenMP threads spin at every barrier by default. Where another process wants the same cores, the thread that works waits for the one
# that spins: a step of 1.0 s took 5.3 s beside a load of four.
PASSIVE = {"OMP_WAIT_POLICY": "passive"}

# transformers replaces its module while it is imported, and a thread that waits for that is handed the one that was replaced; and how many
# threads torch computes on is the whole process's. So of several trainings side by side one at a time has its model answer here.
alone = threading.Lock()


def wait_passively() -> None:
    """Keeps torch's threads from spinning, unless the user has set how they wait; without effect once torch is imported."""
    for name, value in PASSIVE.items():
        os.environ.setdefault(name, value)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on this thread alone: to wake others for little work takes longer than the work."""
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def best_device() -> Any:
    """CUDA, else MPS, else the CPU, as a torch.device."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextmanager
def computing_on(environment: Mapping[str, str]) -> Iterator[None]:
    """Inside, this process computes on the GPU that the environment shows to a child, and no other thread of it computes: CUDA reads the
    variable only once."""
    with alone:
        import torch

        shown = environment.get("CUDA_VISIBLE_DEVICES")
        if not shown or not torch.cuda.is_available():
            yield
            return
        for index in range(torch.cuda.device_count()):
            if shown.endswith(str(torch.cuda.get_device_properties(index).uuid)):
                torch.cuda.set_device(index)
        try:
            yield
        finally:
            torch.cuda.empty_cache()  # the next holder wants the memory


def cpu_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores to compute on: OMP_NUM_THREADS where it is set, else this process's affinity, capped by its cgroup's quota.

    Torch does not know the quota: it would start a thread for every core of the host.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()[:2]
        return max(1, min(cores, math.ceil(int(allowed) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        return cores


def memory_bytes(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """This machine's memory, or what its cgroup allows of it; free or not, so that it is the same the next time."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no cgroup v2, or "max": no limit
        return min(found, int(limit.read_text()))
    return found


def hardware(device: Any) -> dict[str, str]:
    """What a training on this torch.device used: processor, cores, memory, GPU; nothing that names the machine."""
    import torch

    found = {
        "processor": _processor(),
        "cores": str(torch.get_num_threads()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        found |= {"gpu": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB", "cuda": str(torch.version.cuda)}
    return found


def _processor(about: Path = Path("/proc/cpuinfo")) -> str:
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE)
    except OSError:
        named = None
    return f"{platform.machine()}, {named[1].strip()}" if named else platform.machine()
