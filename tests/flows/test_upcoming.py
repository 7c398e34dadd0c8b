"""The starts that the core shows are those of Prefect's server, whatever the schedule and the zone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas import schedules as server

from contender.schedules import Schedule
from contender.upcoming import starts
from deployments.schedules import timing

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Europe/Dublin",
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))
NEAR_A_CHANGE = st.builds(
    lambda change, minutes: change + timedelta(minutes=minutes),
    st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]),
    st.integers(-1500, 300),
)


def of_the_server(schedule: Schedule, since: datetime, count: int) -> list[datetime]:
    """What Prefect's server would make runs for; one that has passed it has made already.

    It looks again and again, and one look can miss what the next one makes a run for: of a night whose clocks go back it leaves out
    the second of two moments that they show alike.
    """
    told = timing(schedule)
    kinds = {"CronSchedule": server.CronSchedule, "IntervalSchedule": server.IntervalSchedule}
    kind = kinds.get(type(told).__name__, server.RRuleSchedule).model_validate(told.model_dump(mode="json"))

    def look(now: datetime) -> list[datetime]:
        found = asyncio.run(kind.get_dates(count + 60, now))
        return [datetime.fromtimestamp(moment.timestamp(), UTC) for moment in found if moment >= now]

    first = look(since)[:count]
    return sorted({*first, *(later for moment in first for later in look(moment + timedelta(seconds=1))[:1])})[:count]


def ours(schedule: Schedule, since: datetime, count: int) -> list[datetime]:
    return [moment.astimezone(UTC) for moment in starts(schedule, since, count)]


def field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    one = st.integers(lowest, highest)
    several = st.lists(one, min_size=1, max_size=3).map(lambda found: ",".join(map(str, found)))
    pair = st.lists(one, min_size=2, max_size=2, unique=True).map(sorted)
    between = pair.map(lambda found: f"{found[0]}-{found[1]}")
    stepped = st.builds(lambda pair, step: f"{pair}/{step}", between, st.integers(1, 9))
    return st.one_of(st.just("*"), st.integers(1, highest).map(lambda n: f"*/{n}"), several, between, stepped)


@st.composite
def crons(draw: st.DrawFn) -> Schedule:
    fields = [draw(field(*ends)) for ends in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))]
    kept = draw(st.sets(st.integers(0, 4), min_size=1, max_size=3))
    text = " ".join(value if place in kept else "*" for place, value in enumerate(fields))
    return asked(cron=text, timezone=draw(st.sampled_from(ZONES)))


def asked(**said: object) -> Schedule:
    """A schedule, where these are read alike everywhere; else this example says nothing."""
    from hypothesis import reject
    from pydantic import ValidationError

    try:
        return Schedule.model_validate(said)
    except ValidationError:
        return reject()


@settings(max_examples=60, deadline=None)
@given(crons(), st.one_of(MOMENTS, NEAR_A_CHANGE))
def test_cron(schedule: Schedule, since: datetime) -> None:
    assert ours(schedule, since, 5) == of_the_server(schedule, since, 5)


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        lambda rule, zone: Schedule(rrule=rule, timezone=zone),
        st.sampled_from(
            [
                "FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=2;BYMINUTE=30;BYSECOND=0",
                "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=15;BYSECOND=0",
                "FREQ=MONTHLY;BYDAY=-1SU;BYHOUR=2;BYMINUTE=0;BYSECOND=0",
                "FREQ=MONTHLY;BYMONTHDAY=-1",
                "DTSTART:20250105T023000\nFREQ=WEEKLY;INTERVAL=2;COUNT=300",
                "DTSTART:20250105T023000\nFREQ=DAILY\nEXDATE:20260329T023000,20261025T023000\nRDATE:20261025T024500",
                "FREQ=YEARLY;BYEASTER=1;BYHOUR=2;UNTIL=20290101T000000",
            ]
        ),
        st.sampled_from(ZONES),
    ),
    st.one_of(MOMENTS, NEAR_A_CHANGE),
)
def test_recurrence_rules(schedule: Schedule, since: datetime) -> None:
    assert ours(schedule, since, 5) == of_the_server(schedule, since, 5)


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        lambda seconds, zone, anchor: Schedule(interval=seconds, timezone=zone, anchor=anchor),
        st.sampled_from([60, 90.5, 3600, 86400, 7 * 86400, 10 * 366 * 86400]),
        st.sampled_from(ZONES),
        st.one_of(st.none(), MOMENTS),
    ),
    st.one_of(MOMENTS, NEAR_A_CHANGE),
)
def test_intervals(schedule: Schedule, since: datetime) -> None:
    assert ours(schedule, since, 5) == of_the_server(schedule, since, 5)


@pytest.mark.parametrize(
    "said", [{"cron": "30 2 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"}, {"interval": "1d"}]
)
def test_the_days_around_both_changes_of_a_clock(said: dict[str, object]) -> None:
    schedule = Schedule.model_validate(said | {"timezone": "Europe/Berlin"})
    for day in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        assert ours(schedule, day, 4) == of_the_server(schedule, day, 4)


def test_a_time_that_clocks_with_a_negative_summer_time_skip() -> None:
    schedule = Schedule(rrule="DTSTART:20250105T023000\nFREQ=WEEKLY;INTERVAL=2", timezone="Africa/Casablanca")
    since = datetime(2027, 2, 1, tzinfo=UTC)
    assert ours(schedule, since, 4) == of_the_server(schedule, since, 4)


def test_an_interval_in_a_zone_of_prefects_own_would_start_two_runs_a_day_after_a_change() -> None:
    """Why timing() gives it UTC: looked at before the change and after it, it names two hours for the same day."""
    from zoneinfo import ZoneInfo

    berlin = ZoneInfo("Europe/Berlin")
    theirs = server.IntervalSchedule(
        interval=timedelta(days=1), anchor_date=datetime(2026, 1, 1, 9, tzinfo=berlin), timezone="Europe/Berlin"
    )
    monday = {
        moment.hour
        for since in (datetime(2026, 3, 28, 12, tzinfo=berlin), datetime(2026, 3, 29, 12, tzinfo=berlin))
        for moment in asyncio.run(theirs.get_dates(3, since))
        if moment.date() == datetime(2026, 3, 30).date()
    }
    assert monday == {9, 10}
