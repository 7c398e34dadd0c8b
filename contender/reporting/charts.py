"""Where things stand in a drawing: scales, ticks and points. The templates draw; nothing here writes markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contender.evaluation.metrics import METRICS
from contender.monitoring import Observation
from contender.records import TrainReport
from contender.reporting.comparison import MetricRow


@dataclass(frozen=True)
class Scale:
    """Maps values from low to high onto pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, wanted: int = 3) -> list[float]:
        """At least `wanted` round values inside the scale: multiples of the largest 1, 2 or 5 times a power of ten that allows it."""
        if not self.high > self.low:
            return [self.low]
        power = 10.0 ** math.ceil(math.log10(self.high - self.low))
        for step in (power, power / 2, power / 5, power / 10, power / 20, power / 50, power / 100):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first + 1 >= wanted:
                break
        # Far from zero a multiple is rounded to the next number that there is, which may lie outside.
        return [min(max(round(place * step, 12) + 0.0, self.low), self.high) for place in range(first, last + 1)]


def padded(values: Sequence[float], start: float, end: float, share: float = 0.08) -> Scale:
    """A scale over all values with some room at both ends."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * share or 1.0
    return Scale(low - room, high + room, start, end)


@dataclass(frozen=True)
class Curve:
    """A line over training steps."""

    title: str
    percent: bool
    points: list[tuple[float, float]]  # step, value
    x: Scale
    y: Scale
    best: tuple[float, float] | None

    @property
    def path(self) -> str:
        return " ".join(f"{self.x(step)},{self.y(value)}" for step, value in self.points)


WIDTH, HEIGHT = 320.0, 160.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 14.0, 26.0
MOST_POINTS = 300  # of a curve: more than the pixels that show it


def learning_curves(training: TrainReport) -> list[Curve]:
    """The training loss and each validation metric over steps, those that have two points or more."""
    last = max((p.step for p in training.curve), default=0)
    loss = [(p.step, p.loss) for p in training.curve if p.loss is not None]
    curves = [_curve("Training loss", loss, last, None, percent=False)] if len(loss) > 1 else []
    for name in dict.fromkeys(name for p in training.curve for name in p.metrics):
        points = [(p.step, p.metrics[name]) for p in training.curve if name in p.metrics]
        if len(points) > 1:
            facts = METRICS.get(name)
            title = f"{facts.title if facts else name} on validation"
            curves.append(_curve(title, points, last, training.best_step, percent=bool(facts and facts.percent)))
    return curves


def _curve(title: str, raw: list[tuple[int, float]], last: int, best: int | None, percent: bool) -> Curve:
    points = _thinned(raw)
    return Curve(
        title=title,
        percent=percent,
        points=points,
        x=Scale(0.0, float(last), LEFT, WIDTH - RIGHT),
        y=padded([value for _, value in points], HEIGHT - BOTTOM, TOP),
        best=next((point for point in points if point[0] == best), None),
    )


def _thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    every = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = [point for place, point in enumerate(points) if place % every == 0 or place == len(points) - 1]
    return [(float(step), float(value)) for step, value in kept if math.isfinite(value)]


@dataclass(frozen=True)
class IntervalPlot:
    """Where an interval's marks stand; `label` says it in words."""

    at: float
    low: float
    high: float
    zero: float | None
    limit: float | None
    label: str
    band: tuple[float, float] | None = None  # start and width of what the seed alone may move, around zero


PLOT_START, PLOT_END = 8.0, 312.0


def interval_plots(
    rows: Sequence[MetricRow], asked: Mapping[str, float], bands: Mapping[str, float]
) -> list[IntervalPlot]:
    """A drawing for each metric. Percentages share a scale; right is better, also for metrics where lower is better.

    With a champion: its difference to the challenger, around 0; `asked` maps a metric to the gain that a rule asks for, `bands` to how
    far the seed alone may move the difference. Without: the value itself and the floor.
    """
    shared = [row for row in rows if row.percent]
    return [_interval_plot(row, shared if row.percent else [row], asked, bands) for row in rows]


def _interval_plot(
    row: MetricRow, together: Sequence[MetricRow], asked: Mapping[str, float], bands: Mapping[str, float]
) -> IntervalPlot:
    band = None if row.difference is None else bands.get(row.name)
    if row.difference is None:
        limit, centre, sign = row.floor, row.challenger, 1
        scale = Scale(0.0, 1.0, PLOT_START, PLOT_END) if row.percent else _around([row.low, row.high, row.floor, 0.0])
    else:
        limit, centre, sign = asked.get(row.name), row.difference, 1 if row.higher_is_better else -1
        reach = max(abs(end) for other in together for end in _drawn(other, asked, bands)) or 1.0
        scale = Scale(-reach * 1.05, reach * 1.05, PLOT_START, PLOT_END)
    low, high = sorted(sign * end for end in _ends(row))
    return IntervalPlot(
        at=scale(sign * centre),
        low=max(scale(low), PLOT_START),
        high=min(scale(high), PLOT_END),
        zero=None if row.difference is None else scale(0.0),
        limit=None if limit is None or (row.difference is not None and limit == 0) else scale(limit),
        label=_label(row, centre) + (f"; the seed alone may move it by {band:.4f}" if band else ""),
        band=(scale(-band), round(scale(band) - scale(-band), 2)) if band else None,
    )


def _label(row: MetricRow, centre: float) -> str:
    low, high = sorted(_ends(row))
    return f"{row.title}: {centre:+.4f}" + (f", from {low:+.4f} to {high:+.4f}" if low < high else "")


def _drawn(row: MetricRow, asked: Mapping[str, float], bands: Mapping[str, float]) -> tuple[float, ...]:
    """Every value that the drawing of a difference must reach."""
    return *_ends(row), asked.get(row.name, 0.0), bands.get(row.name, 0.0)


def _ends(row: MetricRow) -> tuple[float, float]:
    return row.low, row.high


def _around(values: Sequence[float | None]) -> Scale:
    return padded([value for value in values if value is not None], PLOT_START, PLOT_END)


@dataclass(frozen=True)
class Line:
    """One quantity of a series: its name, the class that draws it, and its points in pixels."""

    name: str
    style: str
    points: list[tuple[float, float]]

    @property
    def path(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclass(frozen=True)
class SeriesChart:
    """Observations from left to right in their order, whatever time passed between; `champions`: where another one begins."""

    title: str
    percent: bool
    lines: list[Line]
    whiskers: list[tuple[float, float, float]]  # x, and y of both bounds
    y: Scale
    champions: list[float]
    first: str
    last: str


def series_charts(series: Sequence[Observation]) -> list[SeriesChart]:
    """The champions' metric on rows that were new to them, of those that share the newest one's, and how far these had drifted."""
    shown = [one for one in series if one.primary == series[-1].primary][-MOST_POINTS:]
    if not shown:
        return []
    facts = METRICS[shown[-1].primary]
    found = {"": [one.metrics[one.primary] for one in shown]}
    title = f"{facts.title} on rows new to the champion"
    charts = [_series_chart(title, facts.percent, shown, found, [one.bounds for one in shown])]
    drifted = [(one, one.drift) for one in shown if one.drift]
    if drifted:
        found = {
            "labels": [drift.labels for _, drift in drifted],
            "predictions": [drift.predictions for _, drift in drifted],
            "by chance": [drift.by_chance for _, drift in drifted],
        }
        title = "Drift from the champion's data, 0 to 1"
        charts.append(_series_chart(title, False, [one for one, _ in drifted], found, [None] * len(drifted)))
    return charts


STYLES = ("line", "link", "dotted")  # of a chart's lines, in their order


def _series_chart(
    title: str,
    percent: bool,
    shown: Sequence[Observation],
    found: Mapping[str, Sequence[float]],
    bounds: Sequence[tuple[float, float] | None],
) -> SeriesChart:
    x = Scale(0.0, float(len(shown) - 1), LEFT + 8, WIDTH - RIGHT - 8)
    ends = [end for pair in bounds if pair for end in pair]
    y = padded([*ends, *(value for values in found.values() for value in values)], HEIGHT - BOTTOM, TOP)
    lines = [
        Line(name, style, [(x(place), y(value)) for place, value in enumerate(values)])
        for style, (name, values) in zip(STYLES, found.items(), strict=False)
    ]
    begins = [place for place, one in enumerate(shown) if place and one.champion != shown[place - 1].champion]
    return SeriesChart(
        title=title,
        percent=percent,
        lines=lines,
        whiskers=[(x(place), y(pair[0]), y(pair[1])) for place, pair in enumerate(bounds) if pair],
        y=y,
        champions=[x(place - 0.5) for place in begins],
        first=shown[0].at[:10],
        last=shown[-1].at[:10],
    )
