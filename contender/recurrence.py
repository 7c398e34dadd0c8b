"""Recurrence rules (RFC 5545), as far as a scheduler can follow them: one rule, its times local to the schedule's zone.

A rule is walked from its beginning at every look, so one that has many moments, or none, would hold up all that a scheduler does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

BEGINNING = datetime(2024, 1, 1)  # a Monday; where intervals and rules that do not say so begin to count
EARLIEST = 2000
LATEST = 2100
LONGEST = 6500  # characters; Prefect's
CLOSEST = timedelta(minutes=1)
ENOUGH = 200  # moments of a rule, to see how close they are
FREQUENCIES = ("HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")
LINE = re.compile(r"(DTSTART|RRULE|RDATE|EXDATE):(.+)")
STAMP = "%Y%m%dT%H%M%S"


def rrule_text(value: str) -> str:
    """The rule with its beginning spelled out, so that it names the same moments whenever it is read."""
    if len(value) > LONGEST - 100:
        raise ValueError(f"is longer than {LONGEST - 100:,} characters")
    lines = [line.strip().upper() for line in value.splitlines() if line.strip()]
    lines = [line if ":" in line or ";" in line.partition("=")[0] else f"RRULE:{line}" for line in lines]
    for line in lines:
        _check_line(line)
    rules = [line for line in lines if line.startswith("RRULE:")]
    if len(rules) != 1:
        raise ValueError(f"holds {len(rules)} rules: one, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=3;BYMINUTE=0;BYSECOND=0")
    given = [line for line in lines if line.startswith("DTSTART:")]
    if not given and "COUNT=" in rules[0]:
        raise ValueError("has a COUNT and no moment to count from: add a line such as DTSTART:20260101T030000")
    begun = given or [f"DTSTART:{BEGINNING.strftime(STAMP)}"]
    if len(begun) != 1:
        raise ValueError("has more than one DTSTART")
    _check_rule(_beginning(begun[0]), rules[0])
    text = "\n".join([*begun, *(line for line in lines if line not in begun)])
    _parsed(text)
    return text


def _check_line(line: str) -> None:
    if "TZID" in line or re.search(r"\d{6}Z", line):
        raise ValueError("names a zone: the times of a rule are those of timezone; leave out Z and TZID")
    if not LINE.fullmatch(line):
        raise ValueError(f"has the line {line[:80]!r}: a rule has RRULE, and may have DTSTART, RDATE and EXDATE")


def _beginning(line: str) -> datetime:
    text = line.removeprefix("DTSTART:")
    try:
        found = datetime.strptime(text, STAMP if "T" in text else "%Y%m%d")
    except ValueError:
        raise ValueError(f"has DTSTART {text}: write it as 20260101T030000") from None
    if not EARLIEST <= found.year < LATEST:
        raise ValueError(f"has DTSTART {text}: must lie in {EARLIEST} to {LATEST - 1}")
    return found


def _check_rule(beginning: datetime, rule: str) -> None:
    """Refuses a rule that names a moment a minute, or none; what COUNT and UNTIL end early is tried as if they did not."""
    frequency = re.search(r"FREQ=(\w+)", rule)
    if frequency is None or frequency[1] not in FREQUENCIES:
        raise ValueError(f"needs FREQ={', '.join(FREQUENCIES[:-1])} or {FREQUENCIES[-1]}; for less use interval")
    if re.search(r"INTERVAL=(?!0*[1-9])", rule):
        raise ValueError("needs an INTERVAL from 1 on")
    endless = re.sub(r";(COUNT|UNTIL)=[^;]*", "", re.sub(r":(COUNT|UNTIL)=[^;]*;", ":", rule))
    horizon = beginning.replace(year=beginning.year + 10, day=1)
    tried = _parsed(f"DTSTART:{beginning.strftime(STAMP)}\n{endless};UNTIL={horizon.strftime(STAMP)}")
    first = list(islice(tried, ENOUGH))
    if not first:
        raise ValueError("names no moment within ten years of its beginning")
    if any(later - sooner < CLOSEST for sooner, later in pairwise(first)):
        raise ValueError("names moments that are less than a minute apart: set BYMINUTE and BYSECOND to one value")


def _parsed(text: str) -> Iterator[datetime]:
    from dateutil.rrule import rrulestr

    try:
        return iter(rrulestr(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"is no recurrence rule of RFC 5545: {error}") from None


def rrule_moments(text: str, after: datetime, zone: str) -> Iterator[datetime]:
    """The moments whose times on the zone's clocks follow `after`. Of a time that the clocks skip dateutil decides, as for Prefect."""
    from dateutil.tz import gettz

    there = gettz(zone)
    return (wall.replace(tzinfo=there).astimezone(UTC) for wall in _parsed(text) if wall > after)
