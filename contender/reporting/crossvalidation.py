"""Folds, drawn: the score of each, their mean, and one standard deviation to both sides of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contender.crossvalidation import METRIC_COLUMNS, CrossValidated, fold_columns, fold_rows, spread_rows
from contender.evaluation.metrics import METRICS
from contender.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, padded


@dataclass(frozen=True)
class FoldsChart:
    """Folds from left to right as points; `mean`, and `top` and `height` of the band around it, in pixels."""

    title: str
    percent: bool
    points: list[tuple[float, float]]
    mean: float
    top: float
    height: float
    x: Scale
    y: Scale


def folds_chart(found: CrossValidated) -> FoldsChart:
    """The drawing of cross-validation."""
    facts, spread = METRICS[found.primary], found.spreads[found.primary]
    low, high = spread.mean - spread.sd, spread.mean + spread.sd
    x = Scale(1.0, float(len(found.folds)), LEFT + 8, WIDTH - RIGHT - 8)
    y = padded([spread.low, spread.high, low, high], HEIGHT - BOTTOM, TOP)
    return FoldsChart(
        title=f"{facts.title} by fold",
        percent=facts.percent,
        points=[(x(float(fold.number)), y(fold.metrics[found.primary])) for fold in found.folds],
        mean=y(spread.mean),
        top=y(high),
        height=round(y(low) - y(high), 2),
        x=x,
        y=y,
    )


def folded(found: CrossValidated | None) -> dict[str, Any]:
    """What the report's section shows: the drawing, and the tables."""
    if found is None:
        return {"folds_chart": None}
    return {
        "folds_chart": folds_chart(found),
        "fold_tables": {
            "metric_columns": METRIC_COLUMNS,
            "spreads": spread_rows(found),
            "columns": fold_columns(found),
            "rows": fold_rows(found),
        },
    }
