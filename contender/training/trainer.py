"""The Hugging Face Trainer as Contender runs it: own batches, own checkpoints, own notion of the best model.

What differs from the Trainer's own ways, and why: its checkpoints are written in place and hold a pickle of the arguments; its best
model is a path, dropped silently in another folder; its early stopping forgets its patience on resume; its length-grouped order
depends on the global generator, so that an epoch resumed in its middle sees other batches. Read in transformers 5.23.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from contender.errors import TrainingFailed, UsageError
from contender.files import link_or_copy
from contender.training.checkpoints import CheckpointManifest, Checkpoints
from contender.training.energy import Meter
from contender.training.monitor import Monitor, Stopped
from contender.training.options import Attempt, CheckpointOptions, Evaluated
from contender.training.rates import set_rates
from contender.training.sampling import BucketSampler, LongestFirstSampler

WEIGHTS = "model.safetensors"
BEST = "best.safetensors"

MOST_COST = 0.03  # of the training time, for checkpoints by the clock

SPEED = ("_runtime", "_per_second", "_preparation_time")  # of an evaluation, as the Trainer names them


def figures(entry: dict[str, float]) -> dict[str, float]:
    """What an evaluation found: metric → value, from an entry of the Trainer's log."""
    return {k.removeprefix("eval_"): v for k, v in entry.items() if k.startswith("eval_") and not k.endswith(SPEED)}


class JobTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """Trains one job, resumably; `best_weights` is the file of the best model so far."""

    def __init__(
        self,
        *args: Any,
        monitor: Monitor,
        checkpoints: Checkpoints,
        best_weights: Path,
        primary: str,
        higher_is_better: bool,
        patience: int,
        attempt: Attempt,
        plan: Path,
        rates: Mapping[str, float],
        meter: Meter,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.rates = rates  # of the parameters that have one of their own
        self.monitor = monitor
        self.meter = meter
        self.checkpoints = checkpoints
        self.best_weights = best_weights
        self.primary = primary
        self.sign = 1.0 if higher_is_better else -1.0
        self.patience = patience
        self.stopped_early = self.budget_spent = False
        self.plan = plan
        self.before: CheckpointManifest | None = None  # what earlier attempts left
        self.checkpoints_written = 0
        self.checkpoint_seconds = 0.0
        self.attempt = attempt
        self._loop = _Loop(self, attempt.checkpoint)
        self.add_callback(self._loop)

    # --- batches

    def _get_train_sampler(self, train_dataset: Any = None) -> BucketSampler:
        lengths = np.asarray((train_dataset or self.train_dataset)["length"][:])
        per_step = self._train_batch_size * self.args.gradient_accumulation_steps
        steps = -(
            -len(lengths) // per_step
        )  # an epoch's; the state knows the step also where an epoch is resumed in its middle
        return BucketSampler(lengths, per_step, self.args.seed, lambda: self.state.global_step // steps)

    def _get_eval_sampler(self, eval_dataset: Any) -> LongestFirstSampler:
        return LongestFirstSampler(np.asarray(eval_dataset["length"][:]))

    # --- steps

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if new and self.rates:
            set_rates(optimizer, dict((model or self.model).named_parameters()), self.rates)
        return optimizer

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        examples = inputs["labels"].shape[0]
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._loop.seen(examples, loss)
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # walks over every parameter at every step, for a figure that nothing reads

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        self.monitor.still("evaluating")
        self.meter.sample()
        return super().prediction_step(*args, **kwargs)

    # --- the best model

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Keeps the weights if validation says that they are the best so far, and stops after `patience` times not.

        Equal metrics, frequent on small validation sets, are told apart by the loss.
        """
        history = [entry for entry in self.state.log_history if f"eval_{self.primary}" in entry]
        ranks = [(self.sign * entry[f"eval_{self.primary}"], -entry.get("eval_loss", 0.0)) for entry in history]
        best = max(range(len(ranks)), key=lambda index: (ranks[index], -index))
        self.monitor.evaluated([Evaluated(epoch=entry["epoch"], metrics=figures(entry)) for entry in history])
        is_best = best == len(ranks) - 1
        if is_best:
            self.state.best_metric = history[-1][f"eval_{self.primary}"]
            self.state.best_global_step = self.state.global_step
            _save_weights(self.model, self.best_weights)
        elif self.patience and len(ranks) - 1 - best >= self.patience:
            self.stopped_early = True
            self.control.should_training_stop = True
        return is_best

    def restore_best(self) -> None:
        """Puts the best weights back into the model, where the last ones are not the best."""
        if self.state.best_global_step and self.state.best_global_step != self.state.global_step:
            _load_weights(self.model, self.best_weights)

    # --- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.control.should_training_stop:
            return  # the end is a second away, and a checkpoint taken here would not know that it was reached
        self.monitor.add_losses(self._loop.losses())
        self.monitor.still("saving")
        began, step = time.monotonic(), self.state.global_step
        self.checkpoints.write(
            step,
            self._fill,
            attempt=self.attempt.number,
            seconds=self.seconds(),
            written=self.checkpoints_written,
            writing_seconds=self.checkpoint_seconds,
            joules=self.joules(),
        )
        self.checkpoints_written += 1
        self.checkpoint_seconds += self._loop.saved(step, began)
        self.monitor.saved(step)
        if self.monitor.stop.requested:
            raise Stopped(resumable=True)
        if self.attempt.limits.ends_with_best and self.is_spent():
            # From this checkpoint a larger budget goes on; what validation says behind it is of this model alone.
            self.budget_spent = self.control.should_training_stop = True

    def _fill(self, folder: Path) -> None:
        _save_weights(self.model, folder / WEIGHTS)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        if self.best_weights.exists():
            link_or_copy(self.best_weights, folder / BEST)
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        shutil.copyfile(self.plan, folder / self.plan.name)

    def seconds(self) -> float:
        """In the training loop, over all attempts."""
        return (self.before.seconds if self.before else 0.0) + self._loop.seconds()

    def joules(self) -> float | None:
        """That the device drew in those seconds; None where it did not tell all the while."""
        before, now = self.before.joules if self.before else 0.0, self.meter.joules()
        return None if before is None or now is None else before + now

    def used(self) -> tuple[float, float | None]:
        """Seconds and joules."""
        return self.seconds(), self.joules()

    def is_spent(self) -> bool:
        """Whether it may not go on."""
        limits = self.attempt.limits
        # Asked after every step: what nothing limits is not read.
        return limits.are_reached(self.seconds(), None if limits.joules is None else self.joules())

    def resume(self, folder: Path, manifest: CheckpointManifest) -> None:
        """Goes on from a checkpoint to the end."""
        self.before = manifest
        self.checkpoints_written = manifest.written + 1
        self.checkpoint_seconds = manifest.writing_seconds
        self.checkpoints.forget_after(manifest.step)
        if (folder / BEST).exists():
            self.best_weights.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(folder / BEST, self.best_weights)
        self.train(resume_from_checkpoint=str(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        _load_weights(self.model, Path(resume_from_checkpoint) / WEIGHTS)


class _Loop(TrainerCallback):  # type: ignore[misc]
    """What happens between two steps: telling of progress, checkpointing by the clock, stopping when asked."""

    def __init__(self, trainer: JobTrainer, cadence: CheckpointOptions) -> None:
        self.trainer = trainer
        self.cadence = cadence
        self._began = self._saved = time.monotonic()
        self._saved_step = 0
        self._cost = 0.0  # seconds that the last checkpoint took
        self._examples = 0
        self._loss: torch.Tensor | float = 0.0
        self._unread: list[tuple[int, torch.Tensor | float]] = []  # steps with their losses, which lie on the device

    def seen(self, examples: int, loss: torch.Tensor) -> None:
        """A part of a step, or all of it: its examples, and its share of the step's loss."""
        self._examples += examples
        self._loss = self._loss + loss

    def losses(self) -> list[float]:
        """Of the steps since this was last called; TrainingFailed where one is no number.

        To read a loss waits for the GPU, which then waits for the next step's commands: after every step that cost a sixth of the time.
        """
        unread, self._unread = self._unread, []
        values: list[float] = torch.stack([torch.as_tensor(loss) for _, loss in unread]).tolist() if unread else []
        for (step, _), value in zip(unread, values, strict=True):
            if not np.isfinite(value):
                raise diverged(f"the loss became {value} at step {step}")
        return values

    def saved(self, step: int, began: float) -> float:
        """A checkpoint was written since `began`: the seconds that it took."""
        self._saved, self._saved_step = time.monotonic(), step
        self._cost = self._saved - began
        return self._cost

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._began = self._saved = time.monotonic()
        self.trainer.meter.begin()
        self.trainer.monitor.used = self.trainer.used
        if self.trainer.attempt.limits.joules is not None and self.trainer.joules() is None:
            raise UsageError(
                f"resources.budget.kwh cannot be watched: the {self.trainer.args.device.type} here does not tell what it draws",
                "Limit hours or cost instead, or let this user read the counters of the hardware.",
            )
        self._saved_step = state.global_step
        self.trainer.monitor.plan(state.global_step, state.max_steps)
        self.trainer.monitor.phase("training")
        self.trainer.monitor.begin()
        self.trainer.monitor.stop.deferred = True

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._unread.append((state.global_step, self._loss))
        examples, self._examples, self._loss = self._examples, 0, 0.0
        self.trainer.meter.sample()
        self.trainer.monitor.stepped(state.global_step, state.epoch or 0.0, examples, self.losses)
        # At an epoch's last step the evaluation comes first: a checkpoint before it would resume behind it.
        if state.epoch is not None and not float(state.epoch).is_integer():
            control.should_save = self._due(state.global_step)

    def on_epoch_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self.trainer.monitor.add_losses(
            self.losses()
        )  # before the evaluation, which would tell of the same less clearly
        control.should_save = self._due(state.global_step) and state.global_step < state.max_steps

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self.trainer.monitor.begin()

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        # From here on a model is seconds away: a request to stop is granted by finishing.
        self.trainer.monitor.still("saving")

    def _due(self, step: int) -> bool:
        spent, limits = self.trainer.is_spent(), self.trainer.attempt.limits
        if spent and not limits.ends_with_best:
            self.trainer.monitor.stop.spend()
        if spent or self.trainer.monitor.stop.requested:
            return True
        if self.cadence.steps and step - self._saved_step >= self.cadence.steps:
            return True
        # On a slow disk less often than asked for: a checkpoint every two minutes that takes one would cost a third of all.
        every = max(self.cadence.every, self._cost / MOST_COST)
        return time.monotonic() - self._saved >= every


def diverged(what: str) -> TrainingFailed:
    return TrainingFailed(what, "Lower train.learning_rate, or set train.precision: fp32 and train.max_grad_norm: 1.0.")


def _save_weights(model: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if _frozen(model):
        save_file(_changing(model), str(temporary), metadata={"format": "pt"})
    else:
        save_model(model, str(temporary), metadata={"format": "pt"})
    temporary.replace(path)


def _load_weights(model: Any, path: Path) -> None:
    if not _frozen(model):
        load_model(model, str(path))
        return
    told = model.load_state_dict(load_file(str(path)), strict=False)
    if told.unexpected_keys or _changing(model).keys() & set(told.missing_keys):
        raise TrainingFailed(
            f"the weights in {path} are not those of this training", "Clean the workspace and run again."
        )


def _frozen(model: Any) -> set[str]:
    """Parameters that no step changes: they are the base's, and no checkpoint needs them."""
    return {name for name, value in model.named_parameters(remove_duplicate=False) if not value.requires_grad}


def _changing(model: Any) -> dict[str, torch.Tensor]:
    """Tensors that steps change, by name; one that several layers share under its first name alone, as safetensors asks for."""
    frozen, seen, found = _frozen(model), set(), {}
    for name, value in model.state_dict().items():
        place = (value.data_ptr(), value.shape)
        # The scales of a weight in 4 bits stand below its name.
        of_frozen = not frozen.isdisjoint(accumulate(name.split("."), "{}.{}".format))
        if not of_frozen and not (value.numel() and place in seen):
            seen.add(place)
            found[name] = value.contiguous()
    return found
