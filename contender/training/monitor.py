"""The job's voice and ears: what it tells its parent, and how it is asked to stop."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from contender.child import Voice
from contender.training.options import Evaluated, Progress

EVERY_SECONDS = 0.5
RECENT_STEPS = 50


class Stopped(BaseException):
    """A signal asked the job to stop; `resumable` tells whether a checkpoint holds what it has done.

    No Exception: it is raised in the middle of whatever is done, and who explains what a library could not do must not explain it.
    """

    def __init__(self, resumable: bool) -> None:
        super().__init__(resumable)
        self.resumable = resumable


class Stop:
    """Turns SIGTERM and SIGINT into a request that the training loop finds between two steps."""

    def __init__(self) -> None:
        self.requested = False
        self.spent = False  # requested because the budget is used up
        self.deferred = False  # in the training loop: finish the step, then checkpoint

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        first, self.requested = not self.requested, True
        if first and not self.deferred:
            raise Stopped(resumable=False)

    def spend(self) -> None:
        """The budget is used up: as if a signal had come in the training loop."""
        self.spent = not self.requested
        self.requested = True

    def check(self) -> None:
        if self.requested:
            raise Stopped(resumable=False)


class Monitor:
    """Follows the steps of a job and tells the parent about them, at most twice a second."""

    def __init__(self, voice: Voice, stop: Stop) -> None:
        self.voice = voice
        self.stop = stop
        self.metrics: dict[str, float] = {}
        self.examples = 0
        self.used: Callable[[], tuple[float, float | None]] = lambda: (0.0, None)  # seconds, joules: Progress
        self._step = self._steps = 0
        self._epoch = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_STEPS)  # time, examples so far
        self._losses: deque[float] = deque(maxlen=RECENT_STEPS)
        self._told = 0.0

    def phase(self, phase: str) -> None:
        self.stop.check()
        self._tell(phase)

    def plan(self, step: int, steps: int) -> None:
        self._step, self._steps = step, steps

    def begin(self) -> None:
        """Starts the clock of the speed: before the first step, and after every pause for an evaluation."""
        self._recent.clear()
        self._losses.clear()
        self._recent.append((time.monotonic(), self.examples))

    def stepped(self, step: int, epoch: float, examples: int, losses: Callable[[], Sequence[float]]) -> None:
        """`losses()`: those of the steps since it was last called. It is called where something is told, for it may wait for a GPU."""
        self._step, self._epoch = step, epoch
        self.examples += examples
        self._recent.append((time.monotonic(), self.examples))
        if time.monotonic() - self._told >= EVERY_SECONDS or step >= self._steps:
            self.add_losses(losses())
            self._tell("training")

    def add_losses(self, losses: Sequence[float]) -> None:
        self._losses.extend(losses)

    def saved(self, step: int) -> None:
        """A checkpoint was written: told at once, since the parent may want to carry it away."""
        self._tell("saving", checkpoint=step)

    def evaluated(self, evaluations: Sequence[Evaluated]) -> None:
        """Validation was asked, for the last of these: told at once, since the parent may not want to go on."""
        self.metrics = evaluations[-1].metrics
        told = [one.model_dump(mode="json") for one in evaluations]
        self._tell("evaluating", evaluations=told)

    def still(self, phase: str) -> None:
        """A sign of life from work that has no steps."""
        if time.monotonic() - self._told >= EVERY_SECONDS:
            self._tell(phase)

    def _tell(self, phase: str, **more: Any) -> None:
        self._told = time.monotonic()
        seconds, joules = self.used()
        used = {"seconds": seconds, "joules": joules}
        progress = Progress.model_validate(self._speed() | used | more | {"metrics": self.metrics, "phase": phase})
        self.voice.say(progress=progress.model_dump(mode="json"))

    def _speed(self) -> dict[str, Any]:
        where = {"step": self._step, "steps": self._steps, "epoch": self._epoch}
        if len(self._recent) < 2:
            return where
        (began, seen), (now, seen_now) = self._recent[0], self._recent[-1]
        seconds_a_step = (now - began) / (len(self._recent) - 1)
        return where | {
            "loss": sum(self._losses) / len(self._losses) if self._losses else None,
            "examples_per_second": (seen_now - seen) / max(now - began, 1e-9),
            "seconds_left": seconds_a_step * max(self._steps - self._step, 0),
        }
