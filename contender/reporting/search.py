"""The history of a search, drawn: every trial's score in their order, and the best so far."""

from __future__ import annotations

from dataclasses import dataclass

from contender.evaluation.metrics import METRICS
from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, padded
from contender.searching import SearchReport, best_so_far

TRIALS_SHOWN = 100


@dataclass(frozen=True)
class SearchChart:
    """Trials from left to right: points of those that finished, x of those that did not, and the line of the best so far."""

    title: str
    percent: bool
    points: list[tuple[float, float]]
    ended: list[float]
    best: list[tuple[float, float]]
    x: Scale
    y: Scale

    @property
    def line(self) -> str:
        """The best so far, as steps."""
        corners = [
            self.best[0],
            *((x, y) for at, (x, _) in enumerate(self.best[1:]) for y in (self.best[at][1], self.best[at + 1][1])),
        ]
        return " ".join(f"{x},{y}" for x, y in corners)


def search_chart(report: SearchReport | None) -> SearchChart | None:
    """The drawing of a search; None where there was none."""
    if report is None:
        return None
    facts, trials = METRICS[report.primary], report.trials
    x = Scale(1.0, float(max(len(trials), 2)), LEFT, WIDTH - RIGHT - 8)
    scores = [trial.score for trial in trials if trial.score is not None]
    y = padded(scores, HEIGHT - BOTTOM, TOP)
    best = best_so_far(report)
    first = len(trials) - len(best) + 1
    return SearchChart(
        title=f"{facts.title} on {report.set} by trial",
        percent=facts.percent,
        points=[(x(float(trial.number)), y(trial.score)) for trial in trials if trial.score is not None],
        ended=[x(float(trial.number)) for trial in trials if trial.score is None],
        best=[(x(float(first + at)), y(score)) for at, score in enumerate(best)],
        x=x,
        y=y,
    )
