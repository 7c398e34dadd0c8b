"""The spec's section `resources`: what a run may use, and how it recovers.

Light to import: the spec holds its values.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from contender import specrules
from contender.section import Section
from contender.spending import JOULES_PER_KWH, Spent, amounts
from contender.training.options import CheckpointOptions, Limits

MOST_PARALLEL = 64


class Budget(Section):
    """What the trainings for one model may use together, over all attempts and runs: those of a search are among them."""

    hours: Annotated[float, Field(gt=0)] | None = Field(default=None, description="on their devices, in training loops")
    cost: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="hours × price_per_hour, in the same currency"
    )
    kwh: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="that their devices draw; refused where the hardware does not tell"
    )
    price_per_hour: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of one device, in whatever currency: the report then says what the model cost"
    )
    when_spent: Literal["wait", "judge"] = Field(
        default="wait",
        description="wait: a training stops with a checkpoint, and continues once the budget is raised; judge: the best model so far "
        "is released and judged like any other",
    )

    @model_validator(mode="after")
    def _has_a_price(self) -> Budget:
        if self.cost is not None and not self.price_per_hour:
            raise specrules.misfits(
                [(("cost",), "needs price_per_hour, above 0: hours × price_per_hour is what it limits")]
            )
        return self

    @property
    def most_hours(self) -> float | None:
        """By hours and by cost, whichever ends first."""
        by_cost = self.cost / self.price_per_hour if self.cost and self.price_per_hour else None
        return min((one for one in (self.hours, by_cost) if one is not None), default=None)

    @property
    def text(self) -> str:
        """For people; empty where there is no end."""
        return amounts(hours=self.hours, of_cost=self.cost, kWh=self.kwh)

    def left(self, spent: Spent) -> Limits:
        """What the next training may use, where others used so much."""
        hours, joules = self.most_hours, self.kwh and self.kwh * JOULES_PER_KWH
        return Limits(
            seconds=None if hours is None else max(0.0, hours * 3600 - spent.seconds),
            joules=None if joules is None else max(0.0, joules - spent.joules),
            ends_with_best=self.when_spent == "judge",
        )


class Resources(Section):
    """What a run may use, and how it recovers. Nothing here changes what it comes to, but for `parallel` beside search.method bayesian."""

    max_recoveries: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="times that a crashed training, or a crashed deployed run, is continued by itself"
    )
    checkpoint: Annotated[CheckpointOptions, BeforeValidator(specrules.no_flags)] = CheckpointOptions()
    parallel: Annotated[int, Field(ge=1, le=MOST_PARALLEL)] | Literal["auto"] = Field(
        default=1,
        description="trials of a search, or folds, at the same time, on a GPU each, or on a part of the cores each; auto: one for each "
        "GPU, or as many as cores and memory are for",
    )
    budget: Budget = Budget()
