"""The page of a curve: scores over training rows with their intervals, the law through them, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass

from contender.curve import CURVE_COLUMNS, CurveReport, curve_rows
from contender.evaluation.metrics import METRICS
from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, Scale, padded
from contender.reporting.page import render_page

STEPS = 60  # of the law's line up to today's rows, and as many beyond


@dataclass(frozen=True)
class RowsChart:
    """Scores over training rows: means, whiskers (x, and y of both bounds), and the law's line, today's part and what is beyond."""

    title: str
    percent: bool
    means: list[tuple[float, float]]
    whiskers: list[tuple[float, float, float]]
    lines: list[Line]
    x: Scale
    y: Scale


def rows_chart(report: CurveReport) -> RowsChart:
    """The drawing of a report: rows from none to the most there are, or twice as many where the law tells of them."""
    facts, more = METRICS[report.primary], report.doubling
    marks = [(one.rows, one.mean, one.low, one.high) for one in report.scores]
    lines: list[tuple[str, str, list[tuple[float, float]]]] = []
    if report.law is not None and more is not None:
        marks.append((more.rows, more.value, *report.ends))
        # What the law has missing, as a distance from what it has missing today: it starts at the mean that was measured.
        sign, last = (1 if facts.higher_is_better else -1), report.scores[-1].mean
        today = report.law.missing(report.scores[-1].rows / report.rows)
        spans = (
            ("fit", "line", report.scores[0].rows, report.rows),
            ("extrapolated", "dotted", report.rows, more.rows),
        )
        for name, style, start, end in spans:
            at = [start + (end - start) * step / STEPS for step in range(STEPS + 1)]
            lines.append(
                (name, style, [(rows, last + sign * (today - report.law.missing(rows / report.rows))) for rows in at])
            )
    x = Scale(0.0, float(marks[-1][0]), LEFT, WIDTH - RIGHT - 8)
    y = padded([end for mark in marks for end in mark[1:]], HEIGHT - BOTTOM, TOP)
    inside = [
        Line(name, style, [(x(rows), y(value)) for rows, value in points if y.low <= value <= y.high])
        for name, style, points in lines
    ]
    return RowsChart(
        title=f"{facts.title} on {report.set} over training rows",
        percent=facts.percent,
        means=[(x(rows), y(mean)) for rows, mean, _, _ in marks],
        whiskers=[(x(rows), y(low), y(high)) for rows, _, low, high in marks],
        lines=inside,
        x=x,
        y=y,
    )


def render_curve(report: CurveReport) -> str:
    """The curve as one HTML page: no scripts, no network."""
    return render_page(
        "curve.html",
        found=report,
        drawn=rows_chart(report),
        columns=CURVE_COLUMNS[:-1],
        rows=[row[:-1] for row in curve_rows(report)],
        title=f"{report.pipeline}: would more data help?",
    )
