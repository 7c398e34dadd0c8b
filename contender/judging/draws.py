"""Drawing held-out units with replacement: what is drawn, how often, and what a metric makes of it.

A unit is a row, or all rows of one split key. Atoms are what a draw counts: a cell of rows that are alike to the metric, a unit, or
a block of units. Only an atom's summed statistics are kept, so that a million resamples of rows are a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contender.evaluation.outcomes import Array, Outcomes

if TYPE_CHECKING:
    from contender.evaluation.metrics.base import OutcomeMetric

Method = Literal["cells", "units", "blocks"]

MOST_UNITS = 100_000  # above, blocks of units are drawn
MOST_CELLS = (
    10_000  # of more than MOST_UNITS rows: above, drawing each cell's count takes longer than drawing blocks of rows
)
BLOCKS = 20_000  # a standard error from so many blocks is off by about 1/√(2·20,000) = 0.5%: less than 10,000 resamples leave
DEALT = 9_801  # seed of dealing units into blocks
FILLED, DENSE = 20, 1 << 23  # a table of one number in twenty, of 64 MiB at most, is multiplied faster with its zeros
FEW = 10  # rows per cell below which drawing rows one by one is faster than drawing each cell's binomial count
ELEMENTS = 1 << 21  # of a matrix at a time: 16 MiB


@dataclass(frozen=True)
class Atoms:
    """What is drawn: `sizes` (atoms,) how many units each stands for, `of_row` (rows,) each row's atom."""

    method: Method
    units: int
    sizes: Array
    of_row: Array

    @property
    def drawn(self) -> int:
        """How many are drawn for one resample."""
        return int(self.sizes.sum())

    def weights(self, generator: np.random.Generator, resamples: int) -> Iterator[Array]:
        """How often each atom is drawn: (some, atoms) float64 at a time, `resamples` in all."""
        for some in _slices(resamples, len(self.sizes)):
            yield self._counts(generator, some.stop - some.start)

    def _counts(self, generator: np.random.Generator, resamples: int) -> Array:
        atoms, drawn = len(self.sizes), self.drawn
        if drawn >= FEW * atoms:
            return generator.multinomial(drawn, self.sizes / drawn, resamples).astype(np.float64)
        of_unit = None if drawn == atoms else np.repeat(np.arange(atoms), self.sizes)
        counts = np.empty((resamples, atoms))
        for count in counts:
            units = generator.integers(0, drawn, drawn)
            count[:] = np.bincount(units if of_unit is None else of_unit[units], minlength=atoms)
        return counts


@dataclass(frozen=True)
class Gain:
    """A metric's gain as a function of how often each atom is drawn, oriented so that more is better."""

    atoms: Atoms
    of_weights: Callable[[Array], Array]  # (resamples, atoms) → (resamples,)
    of_all: float
    without: Array  # (atoms,) the gain without one unit of the atom (one block of units)
    work: int  # numbers touched for one resample


def gain_of(metric: OutcomeMetric, models: Sequence[Outcomes], keys: Array | None) -> Gain:
    """The gain of the first model over the second, or the value of one alone, which is not turned around."""
    sign = 1.0 if len(models) == 1 or metric.higher_is_better else -1.0

    def apart(values: Sequence[Array]) -> Array:
        return values[0] if len(values) == 1 else sign * (values[0] - values[1])

    atoms, statistics, values = _summed_up(metric, models, keys)
    totals = [each.T @ atoms.sizes for each in statistics]

    def of_sums(sums: Iterable[Array]) -> Array:
        return apart([value(each) for value, each in zip(values, sums, strict=True)])

    def of_weights(weights: Array) -> Array:
        return of_sums((weights.astype(each.dtype) @ each).astype(np.float64) for each in statistics)

    def without(some: slice) -> Array:
        return of_sums(total - _dense(each[some]) for total, each in zip(totals, statistics, strict=True))

    count = len(atoms.sizes)
    alone = [without(some) for some in _slices(count, len(totals[0]))] if atoms.drawn > 1 else [np.zeros(count)]
    return Gain(
        atoms=atoms,
        of_weights=of_weights,
        of_all=float(of_sums(totals)),
        without=np.concatenate(alone),
        work=atoms.drawn + sum(getattr(each, "nnz", each.size) for each in statistics),
    )


def values_of(
    metric: OutcomeMetric, models: Sequence[Outcomes], keys: Array | None
) -> tuple[Atoms, Callable[[Array], Array]]:
    """What is drawn, and each model's own value by how often each atom is: (resamples, atoms) → (models, resamples)."""
    atoms, statistics, values = _summed_up(metric, models, keys)

    def of_weights(weights: Array) -> Array:
        sums = ((weights.astype(each.dtype) @ each).astype(np.float64) for each in statistics)
        return np.stack([value(each) for value, each in zip(values, sums, strict=True)])

    return atoms, of_weights


def _summed_up(
    metric: OutcomeMetric, models: Sequence[Outcomes], keys: Array | None
) -> tuple[Atoms, list[Any], list[Callable[[Array], Array]]]:
    """What is drawn of models on the same rows, each one's statistics (atoms, s), and what makes the metric (…) of their sums (…, s)."""
    from contender.evaluation.metrics.base import AdditiveMetric

    atoms = _atoms(metric, models, keys, MOST_UNITS if isinstance(metric, AdditiveMetric) else BLOCKS)
    measured = [_statistics(metric, model) for model in models]
    return atoms, [_summed(each, atoms) for each, _ in measured], [from_sums for _, from_sums in measured]


def _statistics(metric: OutcomeMetric, model: Outcomes) -> tuple[Any, Callable[[Array], Array]]:
    """What each row adds to sums (rows, s), and the metric (…) of sums (…, s); of no sums' metric: how often each kind of row is drawn."""
    from contender.evaluation.metrics.base import AdditiveMetric, one_hot

    if isinstance(metric, AdditiveMetric):
        return metric.statistics(model), metric.from_sums
    code = metric.cells(model)
    _, first, cell = np.unique(np.arange(model.rows) if code is None else code, return_index=True, return_inverse=True)
    alike = model.take(first)

    def value(counts: Array) -> Array:
        return metric.value(alike, np.atleast_2d(counts)).reshape(counts.shape[:-1])

    return one_hot(cell, len(first)), value


def _atoms(metric: OutcomeMetric, models: Sequence[Outcomes], keys: Array | None, most: int) -> Atoms:
    rows = models[0].rows
    of_row, units = _units(rows, keys)
    codes = [code for model in models if units == rows and (code := metric.cells(model)) is not None]
    if not codes:
        return _dealt(of_row, units, most)
    cell: Array = np.zeros(rows, dtype=np.int64)
    for each in codes:
        _, found = np.unique(each, return_inverse=True)
        _, cell = np.unique(cell * (int(found.max()) + 1) + found, return_inverse=True)
    sizes = np.bincount(cell)
    if rows > most and len(sizes) > MOST_CELLS:
        return _dealt(of_row, units, most)
    return Atoms("cells", rows, sizes, cell)


def _units(rows: int, keys: Array | None) -> tuple[Array, int]:
    """Each row's unit (rows,), and how many there are."""
    if keys is None:
        return np.arange(rows), rows
    distinct, of_row = np.unique(keys, return_inverse=True)
    return of_row, len(distinct)


def _dealt(of_row: Array, units: int, most: int) -> Atoms:
    """Units as atoms; where there are too many, blocks of equal numbers of units that chance has put together."""
    if units <= most:
        return Atoms("units", units, np.ones(units, dtype=np.int64), of_row)
    block = np.random.default_rng(DEALT).permutation(units) % BLOCKS
    return Atoms("blocks", units, np.ones(BLOCKS, dtype=np.int64), block[of_row])


def _summed(statistics: Any, atoms: Atoms) -> Any:
    """Statistics (atoms, s): of a row of each cell, or summed over the rows of each unit or block."""
    if atoms.method == "cells":
        _, first = np.unique(atoms.of_row, return_index=True)
        return statistics[first]
    if atoms.method == "units" and len(atoms.of_row) == atoms.units:
        return statistics[np.argsort(atoms.of_row)]
    from contender.evaluation.metrics.base import one_hot

    summed = one_hot(atoms.of_row, len(atoms.sizes)).T.tocsr() @ statistics
    size = summed.shape[0] * summed.shape[1]
    if getattr(summed, "nnz", 0) * FILLED < size or size > DENSE:
        return summed
    table = _dense(summed)
    # Sums of whole numbers below 2^24 are exact in float32, which is twice as fast.
    whole = len(atoms.of_row) < 1 << 24 and bool((table == np.rint(table)).all()) and table.max(initial=0) <= 1 << 12
    return table.astype(np.float32) if whole else table


def _dense(statistics: Any) -> Array:
    return statistics if isinstance(statistics, np.ndarray) else np.asarray(statistics.toarray())


def _slices(count: int, width: int) -> Iterator[slice]:
    """Rows of a matrix (count, width), so many at a time as memory allows."""
    step = max(1, ELEMENTS // max(1, width))
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))
