"""Which columns of a table a model reads, and what is computed from the past of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from contender.data.times import DAY, spelled
from contender.names import TASKS
from contender.section import Seconds, Section
from contender.specrules import Fault

Name = Annotated[str, Field(min_length=1)]


class History(Section):
    """Features from the past of a row's entities, computed from the rows themselves."""

    time: Name = Field(description="column of the time: ISO 8601, or seconds since 1970")
    entities: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="columns that name whose past counts, such as a customer and a terminal"
    )
    values: tuple[Name, ...] = Field(default=(), description="numeric columns whose mean over the window is a feature")
    windows: Annotated[tuple[Seconds, ...], Field(min_length=1)] = Field(
        default=(DAY, 7 * DAY, 30 * DAY), description="how far back: 1d, 7d, 12h"
    )
    label_delay: Seconds | None = Field(
        default=None,
        description="how late labels are known: gives the share of positive labels before; null: not computed",
    )

    @model_validator(mode="after")
    def _distinct(self) -> History:
        for name, values in {"entities": self.entities, "values": self.values, "windows": self.windows}.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice")
        return self

    @property
    def names(self) -> list[str]:
        """The columns that it adds, in order."""
        return [f"{self.time}_weekend", f"{self.time}_night", *(name for name, *_ in self.parts())]

    def parts(self) -> Iterator[tuple[str, str, str, float, str | None]]:
        """(name, entity, what, window in seconds, value) of each column about an entity."""
        for entity in self.entities:
            for window in self.windows:
                span = spelled(window)
                yield f"{entity}_count_{span}", entity, "count", window, None
                for value in self.values:
                    yield f"{entity}_mean_{value}_{span}", entity, "mean", window, value
                if self.label_delay is not None:
                    yield f"{entity}_risk_{span}", entity, "risk", window, None


class Features(Section):
    """Which columns of a table are read."""

    columns: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="columns that are read, also such as give the label away; by default all but the label, the split's key and time, "
        "and those of drop and history",
    )
    drop: tuple[Name, ...] = Field(default=(), description="columns that are not read")
    categorical: tuple[Name, ...] = Field(default=(), description="columns of numbers that are names, such as a branch")
    history: History | None = Field(default=None, description="features of the past, computed from the rows themselves")

    @model_validator(mode="after")
    def _agree(self) -> Features:
        if self.columns is not None and self.drop:
            raise ValueError("names columns to read and columns to drop: give one of the two")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that every file must have for it."""
        history = self.history
        past = () if history is None else (history.time, *history.entities, *history.values)
        return (*(self.columns or ()), *self.categorical, *past)

    @property
    def made(self) -> tuple[str, ...]:
        """Columns that are computed."""
        return () if self.history is None else tuple(self.history.names)

    def chosen(self, found: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
        """The columns that are read, of those found; `others`: columns that are something else, such as the label."""
        past = () if self.history is None else (self.history.time, *self.history.entities)
        left_out = {*others, *self.drop, *past, *self.made}
        read = self.columns if self.columns is not None else sorted(set(found) - left_out)
        return (*read, *self.made)


def faults(
    features: Features, task: str, roles: Mapping[str, str], golden: bool, positive: str | None
) -> Iterator[Fault]:
    """What does not fit the rest of a spec: `roles` maps roles to columns, `golden`: whether there are golden sets."""
    if TASKS[task].example is not None:
        if features != Features():
            yield ("data", "features"), f"chooses columns of a table, and {task} reads its roles alone"
        if positive is not None:
            yield ("evaluate", "positive"), f"is for rankings of a table's rows, and {task} has none"
        return
    for key, names in (
        ("columns", features.columns or ()),
        ("drop", features.drop),
        ("categorical", features.categorical),
    ):
        for role, column in roles.items():
            if column in names:
                yield ("data", "features", key), f"names {column!r}, which is the column of the {role}"
    for name in features.categorical:
        if name in features.drop or (features.columns is not None and name not in features.columns):
            yield ("data", "features", "categorical"), f"names {name!r}, which is not read"
    if features.history is None:
        return
    if golden:
        yield ("data", "features", "history"), "has no past to read for data.golden: hold out by data.split alone"
    if features.history.label_delay is not None and positive is None:
        yield (
            ("data", "features", "history", "label_delay"),
            "needs evaluate.positive: the label whose share is computed",
        )
