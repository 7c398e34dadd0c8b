"""The spec's section `data.split`: what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from contender import specrules
from contender.section import SecondsOrNone, Section

Column = Annotated[str, Field(min_length=1)]


class SplitOptions(Section):
    """What is held out: shares of the keys, by a stable hash, so that a row never moves between train and test as data grows; or
    the newest rows, by time."""

    by: Literal["hash", "time"] = Field(
        default="hash", description="hash: shares of the keys; time: the newest rows, by the time in column"
    )
    column: Column | None = Field(default=None, description="by time: the column that holds each row's time")
    test: specrules.ShareOrSeconds = Field(
        default=0.15,
        description="held out to judge on: a share of keys, or by time a length such as 7d; 0 with golden sets",
    )
    validation: specrules.ShareOrSeconds = Field(
        default=0.10, description="held out to select the best checkpoint on: a share of keys, or by time a length"
    )
    gap: SecondsOrNone = Field(
        default=0.0, description="by time: rows so long before test are left out, as labels that come late would be"
    )
    key: Column = Field(
        default="text",
        description="role or column whose value decides; rows of one key stay together; by default the example itself, such as the text",
    )
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        default=0.85,
        description="rows whose text is as similar as this to a held-out one leave training; 1 or null: only equal texts",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_week_each(cls, value: Any) -> Any:
        by_time = isinstance(value, Mapping) and value.get("by") == "time"
        return {"test": "7d", "validation": "7d", **value} if by_time else value

    @model_validator(mode="after")
    def _fits_its_way(self) -> SplitOptions:
        if self.by == "time":
            specrules.lengths_of_time(self.column, {"test": self.test, "validation": self.validation})
        else:
            specrules.shares(self.column, self.gap, {"test": self.test, "validation": self.validation})
        return self
