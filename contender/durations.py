"""Where the time of a training went; contender/training/clock.py takes it, contender/estimate.py reckons with it."""

from __future__ import annotations

from pydantic import Field

from contender.canonical import Record


class EpochTime(Record):
    """One epoch, or the part of it that one attempt did; checkpoints are left out."""

    rows: int = Field(description="that an epoch trains on, after packing")
    steps: int = Field(description="that were done")
    seconds: float = Field(description="from its beginning to the end of its last step")
    after_first: float = Field(description="seconds from the end of its first step to the end of its last one")
    evaluated: int = Field(default=0, description="rows of validation that it was evaluated on, after packing")
    evaluation_seconds: float = Field(default=0.0, description="that the evaluation took")


class Durations(Record):
    """Of one attempt at a training."""

    preparing: float = Field(
        default=0.0, description="seconds before the training loop: the base read, the rows prepared"
    )
    of_rows: float = Field(default=0.0, description="seconds of those that follow the number of rows")
    epochs: tuple[EpochTime, ...] = Field(default=(), description="in order")
