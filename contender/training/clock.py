"""Times the epochs of a training, and ends a trial, which was made for its times alone, once they are enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from contender.durations import EpochTime
from contender.training.options import Trial

if TYPE_CHECKING:
    from contender.training.trainer import JobTrainer


class EpochClock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """To be added behind the trainer's own callback, which waits for a GPU at the end of an epoch: else its last steps took no time."""

    def __init__(self, trainer: JobTrainer, trial: Trial | None) -> None:
        self.epochs: list[EpochTime] = []
        self._trainer = trainer
        self._trial = trial
        self._began = self._epoch = self._first = self._ended = 0.0
        self._steps = 0

    def _now(self) -> float:
        """Seconds without those of checkpoints."""
        return time.monotonic() - float(self._trainer.checkpoint_seconds)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._now()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._epoch, self._steps = self._now(), 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._steps += 1
        if self._steps == 1:
            self._first = self._now()
        if self._trial and state.global_step >= self._trial.steps and self._spent() >= self._trial.most_seconds:
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._ended = self._now()
        self.epochs.append(
            EpochTime(
                rows=len(self._trainer.train_dataset),
                steps=self._steps,
                seconds=self._ended - self._epoch,
                after_first=self._ended - self._first if self._steps else 0.0,
            )
        )
        enough = self._trial and len(self.epochs) >= self._trial.epochs and self._spent() >= self._trial.least_seconds
        if enough:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        took = {"evaluated": len(self._trainer.eval_dataset), "evaluation_seconds": self._now() - self._ended}
        self.epochs[-1] = self.epochs[-1].model_copy(update=took)

    def _spent(self) -> float:
        return self._now() - self._began
