"""Cron expressions that every scheduler reads alike, and the times of day that they name.

Programs disagree on the rest: Debian's cron joins a day of the month and a weekday by "and" where one of them begins with a star,
others by "or"; few know L, W, # and ?; Prefect's reader takes 9-9 for a star, and skips 1 March where a list of days goes from
February's end on to the 30th. Such expressions are refused, so that what is shown is what happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = ("minute", "hour", "day of the month", "month", "weekday")
STEP = re.compile(r"\*/[0-9]{1,2}")
ONE = r"([0-9]{1,2}|[A-Z]{3})"
VALUES = re.compile(rf"{ONE}(-{ONE}(/[0-9]{{1,2}})?)?")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def cron_text(value: str) -> str:
    """The expression in five fields; ValueError says which of them is wrong."""
    from cronsim import CronSim, CronSimError

    text = " ".join(value.split())
    text = NAMED.get(text, text).upper()
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"has {len(fields)} fields: write five, minute hour day month weekday, such as 0 3 * * *")
    for name, field in zip(FIELDS, fields, strict=True):
        _check_form(name, field)
    _, _, day, _, weekday = fields
    if day != "*" and weekday != "*" and "*" in day + weekday:
        raise ValueError("has both a day and a weekday, one with a star, which programs read differently: write 1-31/2")
    try:
        parsed = CronSim(text, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"is no cron expression ({error}), such as 0 3 * * *") from None
    if day != "*":
        _check_days(parsed.days, parsed.months)
    return text


def _check_form(name: str, field: str) -> None:
    for term in field.split(","):
        values = VALUES.fullmatch(term)
        first, last = (values[1], values[3]) if values else ("", None)
        if field != "*" and not values and not STEP.fullmatch(term):
            raise ValueError(
                f"{name} is {field}: write *, */5, 7, 1-5, 1-5/2 or a list of these; for a last day or an nth weekday use rrule"
            )
        if last is not None and _number(name, first) >= _number(name, last):
            raise ValueError(f"{name} is {field}: a range goes from less to more, as 1-5")


def _number(name: str, value: str) -> int:
    """A value as a number; cronsim says later whether it is in range."""
    from cronsim.cronsim import SYMBOLIC_DAYS, SYMBOLIC_MONTHS

    if value.isdigit():
        return int(value)
    known = {"month": ["", *SYMBOLIC_MONTHS], "weekday": SYMBOLIC_DAYS}.get(name, [])
    if value not in known:
        raise ValueError(f"{name} is {value}: no such name")
    return known.index(value)


def _check_days(days: set[int], months: set[int]) -> None:
    if min(days) > max(LONGEST_MONTHS[month - 1] for month in months):
        raise ValueError(f"names day {min(days)} of months that have none")
    for february in (28, 29):
        beyond = min((day for day in days if day > february), default=february)
        if skipped := [day for day in days if day < beyond - february]:
            raise ValueError(
                f"names day {skipped[0]} and day {beyond}, and Prefect would skip {skipped[0]} March: make them two schedules"
            )


def cron_times(text: str, after: datetime) -> Iterator[datetime]:
    """The times that follow `after`, both without a zone."""
    from cronsim import CronSim

    return iter(CronSim(text, after))
