"""What cross-validation came to: each fold's score, and their mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from pydantic import Field

from contender.judging.words import amount, in_sentence, value
from contender.records import Record
from contender.text import listed

METRIC_COLUMNS = ("metric", "mean", "standard deviation", "lowest", "highest")


class FoldScore(Record):
    """One model on the rows of its fold, of which it was trained on none."""

    number: int
    trained: int = Field(description="rows that it was trained on")
    rows: int = Field(description="rows that it was validated on")
    metrics: dict[str, float]
    seconds: float = Field(description="in the training loop")
    energy_kwh: float | None = Field(default=None, description="that its device drew there; null: not told")
    untrained: tuple[str, ...] = Field(default=(), description="labels that it was validated on and not trained on")
    untried: tuple[str, ...] = Field(default=(), description="labels that it was trained on and not validated on")


class FoldSpread(Record):
    """One metric over all folds."""

    mean: float
    sd: float = Field(description="standard deviation of the folds, n − 1 in the denominator")
    low: float
    high: float


class CrossValidated(Record):
    """Models of the same options on all folds; they are gone, and none of them was released."""

    primary: str
    by: str = Field(description="hash: folds of keys; time: each validated by a model of all earlier rows")
    folds: tuple[FoldScore, ...]
    spreads: dict[str, FoldSpread] = Field(description="metric → mean and spread over the folds")

    @property
    def seconds(self) -> float:
        """In the training loop, of all folds."""
        return sum(fold.seconds for fold in self.folds)

    @property
    def energy_kwh(self) -> float | None:
        """There too; None where no device told."""
        told = [fold.energy_kwh for fold in self.folds if fold.energy_kwh is not None]
        return sum(told) if told else None

    @property
    def rows(self) -> int:
        """Rows that were validated on."""
        return sum(fold.rows for fold in self.folds)

    @property
    def means(self) -> dict[str, float]:
        return {name: spread.mean for name, spread in self.spreads.items()}

    @property
    def sentence(self) -> str:
        spread, title = self.spreads[self.primary], in_sentence(self.primary)
        low, high = value(self.primary, spread.low), value(self.primary, spread.high)
        return (
            f"Over {len(self.folds)} folds {title} is {value(self.primary, spread.mean)} in the mean, with a standard deviation of "
            f"{amount(self.primary, spread.sd)}: from {low} to {high}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of labels that some folds lack."""
        found = (
            ("are in the rows that a fold validates, and not in those that it trains", "untrained"),
            ("are in no row that a fold validates", "untried"),
        )
        return tuple(
            f"{_folds(self.folds, field)}: labels {what}, such as {listed(names, 3)}"
            for what, field in found
            if (names := sorted({name for fold in self.folds for name in getattr(fold, field)}))
        )


def cross_validated(primary: str, by: str, folds: Sequence[FoldScore]) -> CrossValidated:
    """The mean and the spread over two folds or more of every metric."""
    return CrossValidated(
        primary=primary,
        by=by,
        folds=tuple(folds),
        spreads={name: _spread(fold.metrics[name] for fold in folds) for name in folds[0].metrics},
    )


def spread_rows(found: CrossValidated) -> list[tuple[str, ...]]:
    """A row per metric, the primary one first."""
    return [
        (
            in_sentence(name),
            value(name, spread.mean),
            amount(name, spread.sd),
            value(name, spread.low),
            value(name, spread.high),
        )
        for name, spread in sorted(found.spreads.items(), key=lambda entry: entry[0] != found.primary)
    ]


def fold_columns(found: CrossValidated) -> tuple[str, ...]:
    return ("fold", "trained on", "validated on", *map(in_sentence, _ordered(found)), "seconds")


def fold_rows(found: CrossValidated) -> list[tuple[str, ...]]:
    """A row per fold."""
    return [
        (
            f"{fold.number}",
            f"{fold.trained:,}",
            f"{fold.rows:,}",
            *(value(name, fold.metrics[name]) for name in _ordered(found)),
            f"{fold.seconds:,.1f}",
        )
        for fold in found.folds
    ]


def _ordered(found: CrossValidated) -> list[str]:
    return sorted(found.spreads, key=lambda name: name != found.primary)


def _folds(folds: Iterable[FoldScore], field: str) -> str:
    numbers = [f"{fold.number}" for fold in folds if getattr(fold, field)]
    return f"fold{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def _spread(values: Iterable[float]) -> FoldSpread:
    every = list(values)
    return FoldSpread(mean=statistics.fmean(every), sd=statistics.stdev(every), low=min(every), high=max(every))
