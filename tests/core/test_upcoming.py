"""What a schedule may say, and when it starts a run next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from contender.schedules import Schedule
from contender.upcoming import shown, starts


def next_starts(since: str, count: int = 3, **said: object) -> list[str]:
    schedule = Schedule.model_validate({"timezone": "Europe/Berlin"} | said)
    return [moment.isoformat() for moment in starts(schedule, datetime.fromisoformat(since), count)]


def refusal(**said: object) -> str:
    with pytest.raises(ValidationError) as refused:
        Schedule.model_validate(said)
    return str(refused.value)


@pytest.mark.parametrize("said", [{"cron": "30 2 * * *"}, {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"}])
def test_a_time_that_the_clocks_skip_or_show_twice_starts_one_run(said: dict[str, str]) -> None:
    assert next_starts("2026-03-28T12:00:00Z", **said) == [
        "2026-03-29T01:30:00+01:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]
    assert next_starts("2026-10-24T12:00:00Z", **said) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
        "2026-10-27T02:30:00+01:00",
    ]


def test_a_time_far_from_the_change_keeps_its_hour() -> None:
    found = next_starts("2026-03-28T12:00:00Z", 2, cron="0 9 * * *")
    assert found == ["2026-03-29T09:00:00+02:00", "2026-03-30T09:00:00+02:00"]


def test_no_start_is_shown_that_has_passed() -> None:
    second_two_fifteen = "2026-10-25T01:15:00Z"
    assert next_starts(second_two_fifteen, 1, cron="30 2 * * *") == ["2026-10-26T02:30:00+01:00"]
    just_before_the_gap = "2026-03-29T00:45:00Z"
    assert next_starts(just_before_the_gap, 1, cron="30 2 * * *") == ["2026-03-30T02:30:00+02:00"]


def test_an_interval_is_time_that_passes() -> None:
    found = next_starts("2026-03-28T12:00:00Z", 2, interval="1d", anchor="2026-01-01T09:00:00+01:00")
    assert found == ["2026-03-29T10:00:00+02:00", "2026-03-30T10:00:00+02:00"]
    assert next_starts("2026-01-06T00:00:00Z", 1, interval="7d", timezone="UTC") == ["2026-01-12T00:00:00+00:00"]
    ahead = next_starts("2026-01-01T00:00:00Z", 1, interval="7d", timezone="UTC", anchor="2026-12-31T00:00:00Z")
    assert ahead == ["2026-01-01T00:00:00+00:00"], "it counts backwards from its anchor, too"


def test_a_rule_ends_where_it_says_so() -> None:
    assert next_starts("2026-01-01T00:00:00Z", rrule="DTSTART:20250101T000000\nRRULE:FREQ=DAILY;COUNT=3") == []
    soon = next_starts("2026-01-01T00:00:00Z", 5, rrule="DTSTART:20260101T030000\nFREQ=DAILY;UNTIL=20260103T030000")
    assert [moment[:10] for moment in soon] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    without = next_starts("2026-01-01T00:00:00Z", 2, rrule="FREQ=DAILY\nEXDATE:20260102T000000\nRDATE:20260102T120000")
    assert [moment[:13] for moment in without] == ["2026-01-02T12", "2026-01-03T00"]


def test_a_schedule_that_was_read_is_read_the_same_again() -> None:
    for said in ({"cron": "@weekly"}, {"cron": "0  3 * * mon-fri"}, {"rrule": " freq=weekly;byday=mo \n\n"}):
        once = Schedule.model_validate(said)
        assert Schedule.model_validate(once.model_dump(mode="json")) == once
    assert Schedule(rrule="FREQ=DAILY").rrule == "DTSTART:20240101T000000\nRRULE:FREQ=DAILY"


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * *", "has 6 fields"),
        ("61 3 * * *", "minute"),
        ("0 3 * * monday", "weekday is MONDAY"),
        ("0 3 * JAN-XYZ *", "month is XYZ"),
        ("0 3 L * *", "use rrule"),
        ("0 3 * * 5L", "use rrule"),
        ("0 3 * * 2#1", "use rrule"),
        ("0 3 ? * 1", "use rrule"),
        ("0 9-9 * * *", "from less to more"),
        ("0 22-2 * * *", "from less to more"),
        ("0 3 */2 * 1", "both a day and a weekday"),
        ("0 3 1 * */2", "both a day and a weekday"),
        ("*,5 3 * * *", "minute is *,5"),
        ("0 3 30 2 *", "no cron expression"),
        ("0 3 31 4,6 1", "names day 31 of months that have none"),
        ("0 3 1,15,30 * *", "skip 1 March"),
        ("0 3 1,29,31 * *", "skip 1 March"),
        ("", "has 0 fields"),
        ("\x00 3 * * *", "minute"),
        ("٣ 3 * * *", "minute"),
        ("99999999999999999999 3 * * *", "minute"),
    ],
)
def test_a_cron_expression_that_is_wrong_or_read_differently_elsewhere_is_refused(cron: str, why: str) -> None:
    assert why.lower() in refusal(cron=cron).lower()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("FREQ=MINUTELY", "use interval"),
        ("FREQ=DAILY;COUNT=5", "no moment to count from"),
        ("DTSTART:20250101T000000\nRRULE:FREQ=SECONDLY;COUNT=5", "use interval"),
        ("INTERVAL=0;FREQ=DAILY", "INTERVAL from 1"),
        ("FREQ=HOURLY;INTERVAL=-1", "INTERVAL from 1"),
        ("FREQ=DAILY;BYSECOND=0,30", "less than a minute apart"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "no moment"),
        ("FREQ=DAILY;UNTIL=20271231T000000Z", "names a zone"),
        ("DTSTART;TZID=Europe/Berlin:20260101T000000\nFREQ=DAILY", "names a zone"),
        ("DTSTART:00010101T000000\nFREQ=HOURLY", "must lie in 2000"),
        ("DTSTART:tomorrow\nFREQ=DAILY", "write it as"),
        ("DTSTART:20260101\nDTSTART:20260102\nFREQ=DAILY", "more than one DTSTART"),
        ("FREQ=DAILY\nFREQ=WEEKLY", "holds 2 rules"),
        ("FREQ=DAILY\nEXRULE:FREQ=DAILY", "EXRULE"),
        ("FREQ=DAILY;COLOUR=RED", "unknown parameter"),
        ("FREQ=DAILY;BYDAY=XX", "no recurrence rule"),
        ("FREQ=DAILY\nEXDATE:never", "no recurrence rule"),
        ("import os", "needs FREQ"),
        ("", "holds 0 rules"),
        ("FREQ=DAILY;BYHOUR=" + ",".join(["3"] * 4000), "longer than"),
    ],
)
def test_a_rule_that_a_scheduler_cannot_follow_is_refused(rule: str, why: str) -> None:
    assert why.lower() in refusal(rrule=rule).lower()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"interval": "1e300d"}, "number of seconds"),
        ({"interval": 10**12}, "less than or equal"),
        ({"interval": "6h", "anchor": "0001-01-01T00:00:00+14:00"}, "must lie in 2000"),
        ({"interval": "6h", "anchor": "9999-12-31T23:59:59-14:00"}, "must lie in 2000"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Berlni"}, "Europe/Berlin"),
        ({"cron": "0 3 * * *", "timezone": "localtime"}, "no IANA time zone"),
        ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "no IANA time zone"),
    ],
)
def test_what_no_scheduler_can_count_is_refused(said: dict[str, object], why: str) -> None:
    assert why in refusal(**said)


def test_starts_are_shown_with_the_zone_of_their_day() -> None:
    berlin = Schedule(cron="0 3 * * *", timezone="Europe/Berlin")
    text = shown(starts(berlin, datetime(2026, 10, 24, tzinfo=UTC), 2))
    assert text == "Sat 24 Oct 2026 03:00 CEST, Sun 25 Oct 2026 03:00 CET"
    assert shown([]) == "never again"


def test_the_first_start_may_be_the_moment_itself() -> None:
    moment = datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert starts(Schedule(cron="0 3 * * *"), moment, 1) == [moment]
    assert starts(Schedule(cron="0 3 * * *"), moment + timedelta(microseconds=1), 1) == [moment + timedelta(days=1)]
