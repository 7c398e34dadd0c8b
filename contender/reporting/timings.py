"""How long answers took, drawn: for every time, the share of examples that were answered by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale

if TYPE_CHECKING:
    from contender.evaluation.latency import Latency, Quantile
    from contender.evaluation.outcomes import Array
    from contender.reporting.data import ReportInput

POINTS = 100  # of a line: percentiles
TAIL = 1.25  # times the largest bound that is drawn: one answer that took a second does not flatten all others


@dataclass(frozen=True)
class QuantileMark:
    """Where a quantile stands, with its bounds where there are examples enough for them."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TimeLine:
    """One model's answers."""

    name: str
    ours: bool
    points: list[tuple[float, float]]
    marks: list[QuantileMark]
    beyond: int  # answers that took longer than what is drawn

    @property
    def path(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclass(frozen=True)
class LatencyChart:
    found: Latency
    x: Scale
    y: Scale
    lines: list[TimeLine]

    @property
    def machine(self) -> str:
        """What answered, in words."""
        held = self.found.hardware
        if gpu := held.get("gpu"):
            return gpu
        cores = f", {held['cores']} threads" if "cores" in held else ""
        return f"{held.get('processor', self.found.device)}{cores}"


@dataclass(frozen=True)
class _Model:
    name: str
    times: Array
    quantiles: tuple[tuple[float, Quantile], ...]


def latency_chart(data: ReportInput) -> LatencyChart | None:
    """None where no latency was measured."""
    if data.latency is None or data.timings is None:
        return None
    models = list(_models(data))
    reach = max(end for model in models for _, found in model.quantiles for end in (found.ms, found.high or 0.0))
    x = Scale(0.0, reach * TAIL, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    return LatencyChart(data.latency, x, y, [_line(model, x, y) for model in models])


def _models(data: ReportInput) -> Iterator[_Model]:
    from contender.evaluation.latency import column

    found, timings = data.latency, data.timings
    assert found is not None and timings is not None
    ours = ((0.5, found.challenger_median), (0.95, found.challenger_p95))
    yield _Model("challenger", column(timings, "challenger"), ours)
    if found.champion_median is not None and found.champion_p95 is not None:
        theirs = ((0.5, found.champion_median), (0.95, found.champion_p95))
        yield _Model("champion", column(timings, "champion"), theirs)


def _line(model: _Model, x: Scale, y: Scale) -> TimeLine:
    shares = np.linspace(0.0, 1.0, POINTS + 1)
    places = zip(np.quantile(model.times, shares), shares, strict=True)
    return TimeLine(
        name=model.name,
        ours=model.name == "challenger",
        points=[(x(float(time)), y(float(share))) for time, share in places if time <= x.high],
        marks=[
            QuantileMark(
                x(found.ms),
                y(share),
                None if found.low is None else x(found.low),
                None if found.high is None else x(found.high),
            )
            for share, found in model.quantiles
        ],
        beyond=int((model.times > x.high).sum()),
    )
