"""The spec's section `resources`: what a run may use, and how it recovers.

Light to import: the spec holds its values.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from contender import specrules
from contender.section import Section
from contender.training.options import CheckpointOptions


class Budget(Section):
    hours: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="of one training on its device, over all attempts and runs: then it stops with a checkpoint, and continues "
        "once this is raised",
    )
    price_per_hour: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of one device, in whatever currency: the report then says what the model cost"
    )


class Resources(Section):
    """What a run may use, and how it recovers; nothing here changes what it comes to."""

    max_recoveries: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="times that a crashed training, or a crashed deployed run, is continued by itself"
    )
    checkpoint: Annotated[CheckpointOptions, BeforeValidator(specrules.no_flags)] = CheckpointOptions()
    budget: Budget = Budget()
