"""Out of memory: how it is told from a crash, and the smaller batches that follow it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# The kernel's killer takes the training before anything else of ours: its parent has to live to continue with less.
FIRST_TO_GO = 500


def oom_kills(proc: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Processes of this cgroup that the kernel has killed for want of memory; None where it does not say.

    cgroup v2: `oom_kill` of memory.events; v1: that of the memory controller's memory.oom_control.
    """
    try:
        lines = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return None
    for number, controllers, path in (line for line in lines if len(line) == 3):
        if number == "0" and not controllers:
            places = [groups / path.lstrip("/") / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            places = [groups / "memory" / path.lstrip("/") / "memory.oom_control", groups / "memory/memory.oom_control"]
        else:
            continue
        for place in places:  # the second: inside a container, where the first names the host's path
            with suppress(OSError, ValueError, StopIteration):
                words = (line.split() for line in place.read_text().splitlines())
                return next(int(word[1]) for word in words if word[0] == "oom_kill")
    return None


def go_first() -> None:
    """Makes this process the kernel's choice where memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library said so: torch on CUDA and on the CPU, cuBLAS and cuDNN (…_STATUS_ALLOC_FAILED), numpy, Python."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in said for words in ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
    )


def smaller(batch_size: int, micro_batch_size: int) -> int | None:
    """The largest micro-batch of at most half the size that divides the batch, so that a step stays the same; None at 1."""
    fitting = (size for size in range(micro_batch_size // 2, 0, -1) if batch_size % size == 0)
    return next(fitting, None)
