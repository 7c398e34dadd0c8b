"""When a schedule starts its next runs, in its own zone and by the rules of the Prefect server, which is the one that starts them.

Cron expressions and recurrence rules name times on the wall's clock. One that a clock skips starts a run an hour beside it (02:30
becomes 01:30); one that it shows twice starts a run the first time. An interval is time that passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import Field

from contender.canonical import Record
from contender.cronrule import cron_times
from contender.recurrence import BEGINNING, rrule_moments

if TYPE_CHECKING:
    from contender.schedules import Schedule
    from contender.spec import Pipeline

SHOWN = 3
EARLIER = timedelta(days=1)  # more than any change of a clock: what it moves is found, too


class NextStarts(Record):
    """When a schedule would start its next runs."""

    name: str
    what: str = Field(description="cron, interval or rrule as the spec has it, and the zone")
    paused: bool
    next: tuple[datetime, ...] = Field(description="in the schedule's zone")

    @property
    def text(self) -> str:
        return f"{self.name}: {'paused; it would start ' if self.paused else ''}{shown(self.next)}"


def next_starts(pipeline: Pipeline, since: datetime) -> tuple[NextStarts, ...]:
    return tuple(
        NextStarts(name=str(one.name), what=described(one), paused=one.paused, next=tuple(starts(one, since)))
        for one in pipeline.spec.schedule
    )


def described(schedule: Schedule) -> str:
    if schedule.interval is not None:
        return f"every {schedule.interval:g} s"
    return f"{schedule.cron or schedule.rrule} {schedule.timezone}"


def starts(schedule: Schedule, since: datetime, count: int = SHOWN) -> list[datetime]:
    """The first moments from `since` on at which it starts a run, in its zone; fewer than `count` where it ends."""
    zone = ZoneInfo(schedule.timezone)
    found: dict[datetime, datetime] = {}
    for moment in _moments(schedule, since, zone):
        if moment >= since:
            found.setdefault(moment.astimezone(UTC), moment.astimezone(zone))
        if len(found) == count:
            break
    return [found[moment] for moment in sorted(found)]


def _moments(schedule: Schedule, since: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    if schedule.interval is not None:
        return _every(timedelta(seconds=schedule.interval), anchor(schedule), since)
    after = since.astimezone(zone).replace(tzinfo=None) - EARLIER
    if schedule.cron is not None:
        return (_there(wall, zone) for wall in cron_times(schedule.cron, after))
    return rrule_moments(schedule.rrule or "", after, schedule.timezone)


def anchor(schedule: Schedule) -> datetime:
    """The moment from which an interval counts."""
    return schedule.anchor or BEGINNING.replace(tzinfo=UTC)


def _every(interval: timedelta, counted_from: datetime, since: datetime) -> Iterator[datetime]:
    moment = counted_from + (since - counted_from) // interval * interval
    while True:
        yield moment
        moment += interval


def _there(wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a time on that zone's clocks."""
    first = wall.replace(tzinfo=zone)
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
    return first if exists else wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


def shown(moments: Sequence[datetime]) -> str:
    """Moments as a table says them, with the zone's own short name: it changes with daylight saving time."""
    return ", ".join(moment.strftime("%a %d %b %Y %H:%M %Z") for moment in moments) or "never again"
