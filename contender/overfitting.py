"""Whether a training learnt its rows by heart, from its learning curve: the loss on its own rows falls on, that on others rises.

The thresholds, looked at on curves of MiniLM. With 12 rows of each of tweet_eval's four emotions, 20 epochs took the loss on
validation from 1.00 to 2.05 while the accuracy stayed where it was: that is warned of. On trec it rose from 1.32 to 1.55 while the
accuracy went from 52% to 69%: the model grew too sure of itself, and better all the same, which is no reason to train it less.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from contender.evaluation.metrics import METRICS
from contender.judging.words import in_sentence
from contender.records import CurvePoint, Record, TrainReport

LOSS = "loss"
FEWEST_AFTER = 2  # evaluations behind the lowest loss: one alone may be chance, as early_stopping has it
RISE = 0.2  # of the loss on validation; in a training that ends well it moves by some hundredths from epoch to epoch
FALL = 0.2  # of the loss in training, meanwhile: else it is the optimizer that lost its way, and not the rows that are known by heart
GAIN = (
    0.02  # of the metric, by which the same steps were worth their while: on some hundred rows chance moves it as far
)
ADVICE = "Stop earlier (train.early_stopping), regularise more (train.dropout, train.weight_decay, train.layer_decay), or bring more data."


class Point(Record):
    """An evaluation on validation; `training`: the mean loss of the steps since the one before it."""

    step: int
    loss: float
    training: float | None
    metric: float | None


class Overfitting(Record):
    """Where a training's loss on validation was lowest, and what came of it later: at its end, or, where it was stopped early, in the
    weights that are kept."""

    lowest: Point
    later: Point
    kept: int | None
    stopped_early: bool
    metric: str | None
    overfits: bool

    @property
    def text(self) -> str:
        """In one or two sentences, and, where it overfits, what to do."""
        low, end = self.lowest, self.later
        where = "in the weights that are kept" if self.stopped_early else "at the end"
        found = f"the loss on validation was lowest at step {low.step:,} ({low.loss:.3f}) and {end.loss:.3f} {where}"
        if not self.overfits:
            return found
        gained = f", and {in_sentence(self.metric)} gained nothing by it" if self.metric else ""
        kept = "" if self.kept is None or self.stopped_early else f" The weights of step {self.kept:,} are kept."
        return f"overfitting: {found}, while that in training fell from {low.training:.3f} to {end.training:.3f}{gained}.{kept} {ADVICE}"


def overfitting(report: TrainReport) -> Overfitting | None:
    """What the curve shows; None where validation was looked at less than twice, or its loss was lowest at the last look."""
    points, metric = _points(report.curve)
    if len(points) < 2:
        return None
    low = min(range(len(points)), key=lambda place: points[place].loss)
    end = len(points) - 1
    if report.stopped_early:
        end = next((place for place, point in enumerate(points) if point.step == report.best_step), end)
    if end <= low:
        return None
    return Overfitting(
        lowest=points[low],
        later=points[end],
        kept=report.best_step,
        stopped_early=report.stopped_early,
        metric=metric,
        overfits=end - low >= FEWEST_AFTER
        and _parted(points[low], points[end])
        and not _gained(points[low : end + 1], metric),
    )


def fit_of(report: TrainReport) -> dict[str, Any]:
    """What a run's document says of it, beside the figures of the training."""
    found = overfitting(report)
    return {"overfitting": found and found.model_dump(mode="json") | {"text": found.text}}


def _parted(low: Point, end: Point) -> bool:
    """Whether the loss on validation rose and that in training fell."""
    if low.training is None or end.training is None:
        return False
    return end.loss > low.loss * (1 + RISE) and end.training < low.training * (1 - FALL)


def _gained(points: Sequence[Point], metric: str | None) -> bool:
    """Whether the metric is better than at the first of the points: most of the later ones, since one can be best by chance."""
    values = [point.metric for point in points if point.metric is not None]
    if metric is None or len(values) < 2:
        return False
    better = 1 if METRICS[metric].higher_is_better else -1
    return better * (median(values[1:]) - values[0]) > GAIN * abs(values[0])


def _points(curve: Sequence[CurvePoint]) -> tuple[list[Point], str | None]:
    """The evaluations, and the metric that they have beside the loss."""
    metric = next((name for point in curve for name in point.metrics if name in METRICS), None)
    found, since = [], []
    for point in curve:
        if point.loss is not None:
            since.append(point.loss)
        if LOSS in point.metrics:
            training = sum(since) / len(since) if since else None
            own = point.metrics.get(metric) if metric else None
            found.append(Point(step=point.step, loss=point.metrics[LOSS], training=training, metric=own))
            since = []
    return found, metric
