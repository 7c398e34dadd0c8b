"""How long a training will take, reckoned from a trial of some steps of it.

    seconds = start + steps · (of a step) + epochs · (of an epoch's beginning, its evaluation, and of keeping the best weights)

All of it is time in the training loop. The trial's first epoch tells what the start costs, the others, by their median, the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from contender.durations import EpochTime
from contender.records import Record, TrainReport

if TYPE_CHECKING:
    from contender.resourcespec import Budget


def steps_of(rows: int, batch_size: int, epochs: float) -> int:
    """Steps of a training on so many rows."""
    return math.ceil(math.ceil(rows / batch_size) * epochs)


class Speed(Record):
    """What the parts of a training take, in seconds; what a trial measured."""

    start: float = Field(description="once, beside its steps")
    step: float
    epoch: float = Field(description="once an epoch, beside its steps and its evaluation")
    evaluation: float = Field(description="of a row of validation")
    preparing: float = Field(description="once, before the training loop, beside the rows")
    row: float = Field(description="to prepare a row of either set; with method head, to compute its features too")
    rows: float = Field(description="rows of an epoch for each row of the training set: below 1 with packing")


class Estimate(Record):
    """What a training is going to take, at most: early stopping may end it before."""

    steps: int
    epochs: float
    rows: int = Field(description="to train on, about")
    validation: int = Field(description="rows that it is evaluated on after every epoch, about")
    batch_size: int
    seconds: float = Field(description="in the training loop")
    hours: float = Field(description="the same")
    preparing_seconds: float = Field(description="before that: to read the base and prepare the rows")
    energy_kwh: float | None = Field(description="null: the device does not tell")
    price_per_hour: float | None = Field(default=None, description="of the device, in whatever currency")
    cost: float | None = Field(default=None, description="hours at that price")
    device: str
    precision: str
    micro_batch_size: int | None = Field(description="examples at once, where memory held fewer than batch_size")
    hardware: dict[str, str]
    speed: Speed
    probe_seconds: float = Field(description="that the trial spent in the training loop")

    @property
    def altogether(self) -> float:
        """Seconds before the training loop, and in it."""
        return self.preparing_seconds + self.seconds

    def seconds_after(self, epochs: float) -> float:
        """In the training loop, where the training ends after so many epochs."""
        return seconds_of(self.speed, self.rows, self.validation, self.batch_size, epochs)

    def at(self, price_per_hour: float | None) -> Estimate:
        cost = None if price_per_hour is None else self.hours * price_per_hour
        return self.model_copy(update={"price_per_hour": price_per_hour, "cost": cost})

    @property
    def text(self) -> str:
        from contender.reporting.wording import duration, energy, rough

        return "; ".join(
            [
                f"about {duration(self.seconds)} in the training loop on {self.device} in {self.precision}",
                f"{duration(self.preparing_seconds)} to prepare before",
                *([energy(self.energy_kwh)] if self.energy_kwh is not None else []),
                *([f"costs {rough(self.cost)}"] if self.cost is not None else []),
            ]
        )

    def error(self, report: TrainReport) -> dict[str, float]:
        """What a run says of it: the seconds for as many epochs as were trained, and how far off they were; {} on other hardware."""
        if self.hardware != report.hardware or not report.seconds:
            return {}
        seconds = self.seconds_after(report.epochs)
        return {
            "estimated_seconds": seconds,
            "estimate_error": seconds / report.seconds - 1,
            "estimated_preparing_seconds": self.preparing_seconds,
            "preparing_seconds": report.durations.preparing,
        }


def seconds_of(speed: Speed, rows: int, validation: int, batch_size: int, epochs: float) -> float:
    """In the training loop, for a training of so many epochs on `rows` rows, evaluated on `validation` rows after each."""
    steps = steps_of(math.ceil(rows * speed.rows), batch_size, epochs)
    return speed.start + steps * speed.step + math.ceil(epochs) * (speed.epoch + validation * speed.evaluation)


def estimated(
    trial: TrainReport, sample: tuple[int, int], rows: int, validation: int, epochs: float, batch_size: int
) -> Estimate:
    """The estimate from a trial on a `sample` of so many rows to train on and to validate on, for a training on `rows` and `validation`."""
    speed = measured(trial, *sample)
    seconds = seconds_of(speed, rows, validation, batch_size, epochs)
    energy = trial.energy_kwh
    return Estimate(
        steps=steps_of(math.ceil(rows * speed.rows), batch_size, epochs),
        epochs=epochs,
        rows=rows,
        validation=validation,
        batch_size=batch_size,
        seconds=seconds,
        hours=seconds / 3600,
        preparing_seconds=speed.preparing + speed.row * (rows + validation),
        energy_kwh=None if energy is None or not trial.seconds else energy / trial.seconds * seconds,
        device=trial.device,
        precision=trial.precision,
        micro_batch_size=None if trial.micro_batch_size == batch_size else trial.micro_batch_size,
        hardware=trial.hardware,
        speed=speed,
        probe_seconds=trial.seconds,
    )


def measured(trial: TrainReport, rows: int, validation: int) -> Speed:
    """What the trial's times say of each part. One that was cut off in its first epoch says less: its first step is the start."""
    first, *others = trial.durations.epochs
    timed = others or [first]
    step = median(_step(one) for one in timed)
    beginning = median(max(0.0, one.seconds - one.steps * step) for one in others) if others else 0.0
    start = max(0.0, first.seconds - first.steps * step - beginning)
    evaluations = [one.evaluation_seconds for one in timed]
    kept = trial.seconds - sum(one.seconds + one.evaluation_seconds for one in trial.durations.epochs)
    kept -= trial.checkpoint_seconds
    return Speed(
        start=start,
        step=step,
        epoch=beginning + max(0.0, kept) / (1 + len(others)),
        evaluation=median(evaluations) / validation if validation else 0.0,
        preparing=trial.durations.preparing - trial.durations.of_rows,
        row=trial.durations.of_rows / (rows + validation),
        rows=first.rows / rows,
    )


def _step(epoch: EpochTime) -> float:
    """Seconds of a step: by those behind the first one, which has what an epoch begins with."""
    return epoch.after_first / (epoch.steps - 1) if epoch.steps > 1 else epoch.seconds


def warnings_of(estimate: Estimate | None, budget: Budget, trainings: int = 1, folds: int = 0) -> Iterator[str]:
    """Where so many trainings like the estimated one, each with so many `folds`, would use more than their budget."""
    from contender.reporting.wording import duration, energy

    if estimate is None:
        return
    times = trainings * max(
        1, folds
    )  # each fold leaves one part of `folds` out: with the whole they take as long as so many
    seconds, kwh = estimate.seconds * times, (estimate.energy_kwh or 0.0) * times
    who = "the training" if trainings == 1 else f"{trainings:,} trainings, none stopped early,"
    who += f" with {folds} folds{' each' if trainings > 1 else ''}" if folds else ""
    end = (
        "end there with the best model so far"
        if budget.when_spent == "judge"
        else "stop there with a checkpoint and wait"
    )
    if budget.most_hours is not None and seconds > budget.most_hours * 3600:
        most = duration(budget.most_hours * 3600)
        yield f"{who} would take about {duration(seconds)}, more than the {most} of resources.budget; it would {end}"
    if budget.kwh is not None and kwh > budget.kwh:
        yield f"{who} would draw {energy(kwh)}, more than resources.budget.kwh: {budget.kwh:g}; it would {end}"
