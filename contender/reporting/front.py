"""The Pareto front of a search, drawn: the primary metric over the second objective, of every trial that finished."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from contender import pareto
from contender.judging.words import facts, in_sentence
from contender.names import COSTS
from contender.objectives import Objectives
from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, padded
from contender.searching import SearchReport


@dataclass(frozen=True)
class FrontChart:
    """Points of the trials on the front and of the others, the chosen one, and the line of what no trial is beyond.

    The line is of the two objectives drawn; with more of them a trial off the line can be on the front.
    """

    title: str
    percent: bool
    across_percent: bool
    front: list[tuple[float, float]]
    others: list[tuple[float, float]]
    chosen: tuple[float, float]
    line: str
    x: Scale
    y: Scale


def front_chart(report: SearchReport | None) -> FrontChart | None:
    """The drawing of a search's front; None where the score alone counted."""
    if report is None or not report.objectives:
        return None
    told = Objectives(report.objectives[:2])
    values = {one.number: [found for _, found in told.values(one)] for one in report.trials if one.score is not None}
    x = padded([across for _, across in values.values()], LEFT, WIDTH - RIGHT - 8)
    y = padded([score for score, _ in values.values()], HEIGHT - BOTTOM, TOP)
    drawn = {number: (x(across), y(score)) for number, (score, across) in values.items()}
    primary, second = map(facts, told.names)
    unit = COSTS.get(told.names[1])
    edge = pareto.front([told.point(report.trials[number - 1]) for number in values])
    return FrontChart(
        title=f"{primary.title} over {in_sentence(told.names[1])}{f' in {unit}' if unit else ''}",
        percent=primary.percent,
        across_percent=second.percent,
        front=[point for number, point in drawn.items() if number in report.front and number != report.best],
        others=[point for number, point in drawn.items() if number not in report.front and number != report.best],
        chosen=drawn[report.best],
        line=_steps(sorted({list(drawn.values())[place] for place in edge}), second.higher_is_better),
        x=x,
        y=y,
    )


def _steps(points: list[tuple[float, float]], higher_is_better: bool) -> str:
    """From left to right: where less of the second objective is better, a point's score holds up to the next one, else from the last."""
    corners = points[:1]
    for (left, before), (right, after) in pairwise(points):
        corners += [(left, after) if higher_is_better else (right, before), (right, after)]
    return " ".join(f"{x},{y}" for x, y in corners)
