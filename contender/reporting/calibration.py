"""Whether a model is as often right as it says: confidence against accuracy, in the bins of the metric calibration_error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contender.evaluation.outcomes import Outcomes
from contender.judging.paired import clopper_pearson
from contender.reporting.charts import Scale

LEVEL = 0.95  # of each bin's whiskers: exact bounds of its accuracy
SIZE, LEFT, TOP = 220.0, 40.0, 10.0  # of the square that confidence and accuracy span
BARS = 40.0  # height of the counts below it


@dataclass(frozen=True)
class Bin:
    """Rows whose confidence lies in (low, high]: its mean, the share that is right, and the bounds of that share."""

    low: float
    high: float
    rows: int
    right: int
    confidence: float
    bounds: tuple[float, float]

    @property
    def accuracy(self) -> float:
        return self.right / self.rows


@dataclass(frozen=True)
class Reliability:
    """One model's bins that hold rows. `error`: rows-weighted mean of |accuracy − confidence|, as calibration_error."""

    rows: int
    bins: list[Bin]

    @property
    def error(self) -> float:
        return sum(one.rows * abs(one.accuracy - one.confidence) for one in self.bins) / self.rows

    @property
    def gap(self) -> float:
        """Mean confidence less accuracy: above 0 where the model claims more than it keeps."""
        return sum(one.rows * one.confidence - one.right for one in self.bins) / self.rows

    @property
    def tendency(self) -> str:
        """The gap in words."""
        points = f"{abs(self.gap) * 100:.1f}"
        return (
            f"{points} points too {'sure' if self.gap > 0 else 'cautious'}"
            if float(points)
            else "neither too sure nor too cautious"
        )


@dataclass(frozen=True)
class Mark:
    """Where one bin stands in the drawing."""

    x: float
    y: float
    low: float
    high: float
    left: float
    width: float
    height: float


@dataclass(frozen=True)
class ReliabilityChart:
    """Marks of the bins over the diagonal, and bars of their rows below."""

    found: Reliability
    x: Scale
    y: Scale
    marks: list[Mark]
    most: int  # rows of the fullest bin


def reliability(outcomes: Outcomes) -> Reliability | None:
    """None where the model gave no confidence."""
    from contender.evaluation.metrics.calibration_error import BINS, bins_of

    if outcomes.confidence is None:
        return None
    places = bins_of(outcomes.confidence)
    rows = np.bincount(places, minlength=BINS)
    right = np.bincount(places, weights=outcomes.right, minlength=BINS)
    confidence = np.bincount(places, weights=outcomes.confidence, minlength=BINS)
    return Reliability(
        outcomes.rows,
        [
            Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                rows=int(rows[place]),
                right=int(right[place]),
                confidence=float(confidence[place] / rows[place]),
                bounds=clopper_pearson(int(right[place]), int(rows[place]), (1 - LEVEL) / 2),
            )
            for place in np.flatnonzero(rows)
        ],
    )


def reliability_chart(found: Reliability) -> ReliabilityChart:
    x, y = Scale(0.0, 1.0, LEFT, LEFT + SIZE), Scale(0.0, 1.0, TOP + SIZE, TOP)
    most = max(one.rows for one in found.bins)
    bar = Scale(0.0, float(most), 0.0, BARS)
    return ReliabilityChart(
        found=found,
        x=x,
        y=y,
        marks=[
            Mark(
                x=x(one.confidence),
                y=y(one.accuracy),
                low=y(one.bounds[0]),
                high=y(one.bounds[1]),
                left=x(one.low),
                width=round(x(one.high) - x(one.low) - 1, 2),
                height=max(bar(one.rows), 1.0),
            )
            for one in found.bins
        ],
        most=most,
    )
