"""A training in this process, which a test can stop at a step, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from contender.child import Voice
from contender.kinds import kind
from contender.records import TrainReport
from contender.training.monitor import Monitor, Stop
from contender.training.options import Attempt, Job


class StopsAt(Monitor):
    """Asks to stop when a step is reached, as a signal would."""

    def __init__(self, step: int | None) -> None:
        super().__init__(Voice(None), Stop())
        self.stop_at = step

    def stepped(self, step: int, epoch: float, examples: int, losses: Callable[[], Sequence[float]]) -> None:
        super().stepped(step, epoch, examples, losses)
        if step == self.stop_at:
            self.stop.requested = True


def train(job: Job, folder: Path, stop_at: int | None = None, **attempt: object) -> TrainReport:
    from contender.training.finetune import finetune

    folder.mkdir(exist_ok=True)
    return finetune(job, folder, StopsAt(stop_at), Attempt.model_validate(attempt))


def accuracy(job: Job) -> float:
    outcomes = kind(job.task).predict(Path(job.output), Path(job.validation)).to_pydict()
    return sum(a == b for a, b in zip(outcomes["label"], outcomes["prediction"], strict=True)) / len(outcomes["label"])


def weights(folder: str | Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model.safetensors")
