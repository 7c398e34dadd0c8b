"""The registry's history as a line: what each run's release reached, what was decided, and what was live meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from contender.evaluation.metrics import METRICS
from contender.records import AliasEntry, Decision
from contender.registry.decisions import in_time
from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Scale, padded
from contender.reporting.data import ReportInput

CHART_WIDTH = 640.0
THIS = {"PROMOTE": "to be promoted", "KEEP": "kept", "INCONCLUSIVE": "inconclusive"}


@dataclass(frozen=True)
class Event:
    """One decision or move by hand. `value`: of the primary metric, None where nothing was evaluated; `live`: live from here on."""

    at: str
    what: str
    release: str
    value: float | None
    rows: int | None
    why: str
    live: bool


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    what: str
    live: bool


@dataclass(frozen=True)
class HistoryChart:
    """Events from left to right in their order. `spans`: the live release's value, from where it was made live."""

    metric: str
    percent: bool
    events: list[Event]
    y: Scale
    dots: list[Dot]
    spans: list[tuple[float, float, float]]  # x, x of the next one, y
    live: AliasEntry | None

    @property
    def first(self) -> str:
        return self.events[0].at[:10]

    @property
    def last(self) -> str:
        return self.events[-1].at[:10]


def history_chart(data: ReportInput) -> HistoryChart | None:
    """None where the registry holds nothing of this alias yet but what this report is about."""
    events = story(data)
    if len(events) < 2:
        return None
    metric = data.metrics[0]
    x = Scale(0.0, float(len(events) - 1), LEFT + 8, CHART_WIDTH - RIGHT - 8)
    y = padded([event.value for event in events if event.value is not None], HEIGHT - BOTTOM - 12, TOP)
    floor = HEIGHT - BOTTOM
    return HistoryChart(
        metric=METRICS[metric].title,
        percent=METRICS[metric].percent,
        events=events,
        y=y,
        dots=[
            Dot(x(place), floor if event.value is None else y(event.value), event.what, event.live)
            for place, event in enumerate(events)
        ],
        spans=list(_spans(events, x, y)),
        live=data.history.entries[-1] if data.history and data.history.entries else None,
    )


def story(data: ReportInput) -> list[Event]:
    """What the registry remembers of the alias, in the order of time, and this verdict last."""
    decisions = data.history.decisions if data.history else ()
    entries = data.history.entries if data.history else ()
    metric = data.metrics[0]
    found = [
        _by_hand(one) if isinstance(one, AliasEntry) else _decided(one, metric)
        for one in in_time(decisions, entries)
        if isinstance(one, AliasEntry) or one.alias == data.alias
    ]
    return [*_valued(found), _this(data, metric)]


def _decided(decision: Decision, metric: str) -> Event:
    return Event(
        at=decision.at,
        what=decision.outcome.replace("_", " "),
        release=decision.release or "",
        value=decision.metrics.get(metric),
        rows=decision.rows,
        why=decision.message,
        live=decision.outcome == "promoted",
    )


def _by_hand(entry: AliasEntry) -> Event:
    """A move that no readable decision made: a person's, most often."""
    what = "rolled back to" if entry.action == "rollback" else "promoted"
    return Event(entry.at, what, entry.release, None, None, f"{entry.reason} ({entry.actor})", live=True)


def _this(data: ReportInput, metric: str) -> Event:
    return Event(
        at=data.at,
        what=THIS[data.verdict.verdict],
        release=data.release.release,
        value=data.judged.metrics[metric],
        rows=data.snapshot.source.rows,
        why="this report",
        live=False,
    )


def _valued(events: list[Event]) -> Iterator[Event]:
    """A release that a person made live has the value of its last evaluation."""
    values: dict[str, float] = {}
    for event in events:
        if event.value is not None:
            values[event.release] = event.value
        yield event if event.value is not None else replace(event, value=values.get(event.release))


def _spans(events: list[Event], x: Scale, y: Scale) -> Iterator[tuple[float, float, float]]:
    lives = [place for place, event in enumerate(events) if event.live]
    for place, until in zip(lives, [*lives, len(events) - 1][1:], strict=True):
        value = events[place].value
        if value is not None and until > place:
            yield x(place), x(until), y(value)
