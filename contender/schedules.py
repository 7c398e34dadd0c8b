"""When a pipeline runs by the clock: the spec's section `schedule`. Light to import: the spec holds it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from contender import specrules
from contender.section import Seconds, Section

KINDS = ("cron", "interval", "rrule")
SHORTEST_SECONDS = 60.0  # a run's own start takes seconds, and every one of them is a line in the UI
LONGEST_RRULE = 6500  # Prefect's


def cron_text(value: str) -> str:
    """Five fields, or a name such as @daily; the message says which field is wrong."""
    from cronsim import CronSim, CronSimError

    text = " ".join(value.split())
    try:
        CronSim(NAMED.get(text, text), _any_day())
    except CronSimError as error:
        raise ValueError(
            f"is no cron expression ({error}): five fields, minute hour day month weekday, such as 0 3 * * *"
        ) from None
    return text


NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def _any_day() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)


def rrule_text(value: str) -> str:
    """An iCalendar recurrence (RFC 5545), such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=3;BYMINUTE=0;BYSECOND=0."""
    from dateutil.rrule import rrulestr

    if len(value) > LONGEST_RRULE:
        raise ValueError(f"is longer than {LONGEST_RRULE:,} characters")
    try:
        rrulestr(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is no recurrence rule of RFC 5545: {error}") from None
    return value


def timezone_name(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        close = get_close_matches(value, available_timezones(), n=3, cutoff=0.6) or ["UTC", "Europe/Berlin"]
        raise ValueError(f"is no IANA time zone, such as {', '.join(close)}") from None
    return value


class Schedule(Section):
    """One schedule: exactly one of cron, interval and rrule."""

    name: Annotated[str, AfterValidator(specrules.name)] | None = Field(
        default=None, description="tells several apart; default: by their place in the list"
    )
    cron: Annotated[str, AfterValidator(cron_text)] | None = Field(
        default=None, description="minute hour day month weekday"
    )
    interval: Annotated[Seconds, Field(ge=SHORTEST_SECONDS)] | None = Field(
        default=None, description="from one start to the next: 90m, 6h, 7d"
    )
    rrule: Annotated[str, AfterValidator(rrule_text)] | None = Field(
        default=None, description="a recurrence rule of RFC 5545"
    )
    anchor: AwareDatetime | None = Field(default=None, description="interval: a moment from which it counts")
    timezone: Annotated[str, AfterValidator(timezone_name)] = Field(
        default="UTC", description="an IANA name such as Europe/Berlin; its daylight saving time is followed"
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


def listed(value: Any) -> Any:
    """A list from one schedule."""
    return [value] if isinstance(value, dict | Schedule) else value


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
