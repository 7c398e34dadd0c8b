"""When a pipeline runs by the clock: the spec's section `schedule`. Light to import: the spec holds it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from contender import specrules
from contender.cronrule import cron_text
from contender.recurrence import EARLIEST, LATEST, rrule_text
from contender.section import Seconds, Section, listed

KINDS = ("cron", "interval", "rrule")
SHORTEST_SECONDS = 60.0  # a run's own start takes seconds, and every one of them is a line in the UI
LONGEST_SECONDS = 10 * 366 * 86400.0
NO_ZONES = {"Factory", "localtime"}  # of what tzdata holds; no other machine knows where they are


def timezone_name(value: str) -> str:
    if value not in available_timezones() - NO_ZONES:
        close = get_close_matches(value, available_timezones(), n=3, cutoff=0.6) or ["UTC", "Europe/Berlin"]
        raise ValueError(f"is no IANA time zone, such as {', '.join(close)}")
    return value


def anchor_moment(value: datetime) -> datetime:
    """The same moment in UTC, as a scheduler keeps it."""
    if not EARLIEST <= value.year < LATEST:
        raise ValueError(f"must lie in {EARLIEST} to {LATEST - 1}")
    return value.astimezone(UTC)


class Schedule(Section):
    """One schedule: exactly one of cron, interval and rrule."""

    name: Annotated[str, AfterValidator(specrules.name)] | None = Field(
        default=None, description="tells several apart; default: by their place in the list"
    )
    cron: Annotated[str, AfterValidator(cron_text)] | None = Field(
        default=None, description="minute hour day month weekday"
    )
    interval: Annotated[Seconds, Field(ge=SHORTEST_SECONDS, le=LONGEST_SECONDS)] | None = Field(
        default=None, description="from one start to the next: 90m, 6h, 7d"
    )
    rrule: Annotated[str, AfterValidator(rrule_text)] | None = Field(
        default=None, description="a recurrence rule of RFC 5545, without a zone"
    )
    anchor: Annotated[AwareDatetime, AfterValidator(anchor_moment)] | None = Field(
        default=None, description="interval: a moment from which it counts; default: 2024-01-01T00:00:00Z"
    )
    timezone: Annotated[str, AfterValidator(timezone_name)] = Field(
        default="UTC",
        description="an IANA name such as Europe/Berlin: cron and rrule follow its clocks, an interval is only shown in it",
    )
    paused: bool = Field(default=False, description="kept, and starts nothing")

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        said = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(said) != 1:
            raise ValueError(f"takes exactly one of cron, interval and rrule (has {', '.join(said) or 'none'})")
        if self.anchor is not None and self.interval is None:
            raise ValueError("anchor goes with interval")
        return self


def named(schedules: Sequence[Schedule]) -> Any:
    """The schedules, each with a name of its own."""
    found: list[Schedule] = []
    for place, schedule in enumerate(schedules, 1):
        name = schedule.name or (f"schedule-{place}" if len(schedules) > 1 else "schedule")
        if name in [one.name for one in found]:
            raise ValueError(f"two schedules are named {name!r}")
        found.append(schedule.model_copy(update={"name": name}))
    return tuple(found)


Schedules = Annotated[
    tuple[Schedule, ...],
    BeforeValidator(listed, json_schema_input_type=Schedule | tuple[Schedule, ...]),
    AfterValidator(named),
]
