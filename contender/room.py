"""How many trainings of a run fit side by side on this machine: `resources.parallel`, and what each of them gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contender.gpus import visible_gpus
from contender.models import ResolvedBase
from contender.resourcespec import MOST_PARALLEL
from contender.run import Run
from contender.training.devices import cpu_cores, memory_bytes

CORES = 2  # for each training, with auto: below that it mostly waits for its own rows
COPIES = 4  # of the weights that a training of all of them holds: themselves, their gradients, and two moments of AdamW
PROCESS_BYTES = 1 << 30  # of Python, torch, and a small batch
MEMORY_SHARE = 0.75  # of the machine's, for trainings


@dataclass(frozen=True)
class Room:
    """`trials`: of a generation, which is what a search comes to the same with on every machine; `at_once`: of these here, on `devices`."""

    trials: int
    at_once: int
    threads: int  # of each
    gpus: int

    @property
    def text(self) -> str:
        """For people; empty where nothing is side by side."""
        if self.trials < 2:
            return ""
        if not self.gpus:
            return f"{self.at_once} at a time, on {self.threads:,} core{'s' if self.threads > 1 else ''} each"
        of = f": this machine has {self.gpus}, and {self.trials} are asked for" if self.at_once < self.trials else ""
        return f"{self.at_once} at a time, on a GPU each{of}"


def room_for(run: Run, bases: Sequence[ResolvedBase]) -> Room:
    """Of a run's trainings of any of these bases. What `auto` comes to follows from them and the machine, not from what else is at work."""
    asked = run.pipeline.spec.resources.parallel
    cores = cpu_cores()
    if asked == 1:
        return Room(1, 1, cores, 0)
    gpus = len(visible_gpus())
    fitting = min(gpus or min(cores // CORES, _fitting(bases)), MOST_PARALLEL)
    trials = max(1, fitting if asked == "auto" else asked)
    at_once = min(trials, gpus or trials)
    return Room(trials, at_once, max(1, cores // at_once), gpus)


def _fitting(bases: Sequence[ResolvedBase]) -> int:
    """Trainings that memory holds at once, by the size of the largest base's weights."""
    weights = max(sum(path.stat().st_size for path in Path(base.path).glob("*.safetensors")) for base in bases)
    return int(MEMORY_SHARE * memory_bytes() / (PROCESS_BYTES + COPIES * weights))


def sharing(run: Run, room: Room) -> Run:
    """The run for each of the trainings of a generation: a device of its own, its part of the cores, and of what is left of the budget."""
    if room.trials < 2:
        return run

    @contextmanager
    def hold() -> Iterator[dict[str, str]]:
        with run.hold_device() as environment:
            yield environment | {"OMP_NUM_THREADS": f"{room.threads}"}

    return replace(run, hold_device=hold, side_by_side=room.trials)
