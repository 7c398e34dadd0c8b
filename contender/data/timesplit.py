"""A split by time: the newest rows test, those before them validate, all older ones train.

    … ── train ──┤── validation ──┤── gap ──┤── test ──┤ newest row

The ends follow from the newest admitted row. As data grows the window moves, and what tested then trains now: the judge drops the
held-out rows that a model trained on, by its `train_keys`, and with rows that come in order there are none. Rows of the gap are
left out: their labels would not have been known yet, had the model been trained when its test begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from contender.data.rowfile import FILE, ROW
from contender.data.times import seconds_of, written
from contender.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


TEST, VALIDATION, TRAIN, LEFT_OUT = range(4)  # places of the sets, as the split's passes number them


@dataclass(frozen=True)
class Cuts:
    """Where the sets end: times in seconds since 1970. A row later than an end belongs to the next set."""

    column: str
    newest: float
    test_after: float
    gap_after: float
    validation_after: float

    def places(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """The set of each row, (rows,): TEST, VALIDATION, TRAIN or LEFT_OUT."""
        times = seconds_of(batch.column(self.column), self.column)
        later = [times > self.test_after, times > self.gap_after, times > self.validation_after]
        return np.select(later, [TEST, LEFT_OUT, VALIDATION], TRAIN)

    @property
    def begins(self) -> dict[str, float]:
        """Set → the time after which its rows begin, and the newest row's, for the split's report."""
        return {"validation": self.validation_after, "test": self.test_after, "newest": self.newest}


class Lengths(Protocol):
    """Of a split by time: the column of the times, and how many seconds each part lasts."""

    @property
    def column(self) -> str | None: ...
    @property
    def test(self) -> float: ...
    @property
    def validation(self) -> float: ...
    @property
    def gap(self) -> float: ...


def counts(lengths: Lengths, batches: Callable[[], Iterable[pa.RecordBatch]]) -> dict[str, int]:
    """Set → rows, were all rows of `batches()` admitted; errors as of `cuts`."""
    ends = cuts(lengths, batches)
    found = sum((np.bincount(ends.places(batch), minlength=4) for batch in batches()), np.zeros(4, np.int64))
    return {"train": int(found[TRAIN]), "validation": int(found[VALIDATION]), "test": int(found[TEST])}


def cuts(lengths: Lengths, batches: Callable[[], Iterable[pa.RecordBatch]]) -> Cuts:
    """The ends of the sets over `batches()`; DataError where a time cannot be read or all rows are newer than training."""
    column = str(lengths.column)
    oldest, newest = np.inf, -np.inf
    for batch in batches():
        names, numbers = batch.column(FILE), batch.column(ROW)
        times = seconds_of(batch.column(column), column, lambda row: f"row {numbers[row]} of {names[row]}")  # noqa: B023
        oldest, newest = min(oldest, float(times.min())), max(newest, float(times.max()))
    test_after = newest - lengths.test
    gap_after = test_after - lengths.gap
    validation_after = gap_after - lengths.validation
    if validation_after < oldest < np.inf:
        raise DataError(
            f"no row is old enough to train on: the oldest is of {written(oldest)}, the newest of {written(newest)}, and what is "
            f"later than {written(validation_after)} is held out",
            "Bring older rows, or shorten test, validation or gap in data.split.",
        )
    return Cuts(column, newest, test_after, gap_after, validation_after)
