"""What the past says about a row of a table: how often, how much and how risky, for each entity and window of time.

The features of the Fraud Detection Handbook (Le Borgne et al. 2022, chapter 3): for each entity that a row names, such as its
customer, the number of its rows in the last days and the mean of a value among them, this row included; and the share of the positive
label among its rows of the days before, leaving out the last `label_delay`, as labels are known that late. Nothing is read from a
row's own label nor from later rows: rows of the same instant count by the order in which they stand.

Whoever serves the model gives the same columns with each row, computed by `with_history` over the past and the rows to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contender.data.times import DAY, seconds_of
from contender.data.values import as_text
from contender.errors import UsageError
from contender.features import History

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NIGHT_UNTIL = 6  # o'clock, that hour included, as in the handbook


def with_history(table: pa.Table, options: History, label: str | None = None, positive: str | None = None) -> pa.Table:
    """The table with the columns of `options.names` appended, each float64; the rows keep their order, whatever their times.

    `label` is the column of the label and `positive` its value that counts, where `label_delay` is set; a null label, as that of
    a row that is to be answered, is none that is positive. UsageError where a column is missing or has its name taken, DataError
    where a time cannot be read. In memory: about 100 bytes per row, and 8 per row and column.
    """
    import numpy as np
    import pyarrow as pa

    _check(table, options, label, positive)
    times = seconds_of(table.column(options.time), options.time)
    order = np.argsort(times, kind="stable")
    positives = np.zeros(table.num_rows)
    if options.label_delay is not None:
        positives = (np.array(as_text(table.column(str(label))).to_pylist(), object) == positive).astype(np.float64)
    found: dict[str, np.ndarray] = {}
    values = {name: _numbers(table.column(name)) for name in options.values}
    for entity in options.entities:
        past = _Past(_codes(table.column(entity)), times, order)
        for name, of, what, window, value in options.parts():
            if of == entity and what == "count":
                found[name] = past.count(window)
            elif of == entity and what == "mean":
                found[name] = past.mean(values[str(value)], window)
            elif of == entity:
                found[name] = past.share(positives, window, options.label_delay or 0.0)
    days, hours = np.floor(times / DAY), np.floor(times % DAY / 3600)
    # The first of January 1970 was a Thursday.
    found[f"{options.time}_weekend"] = ((days + 3) % 7 >= 5).astype(np.float64)
    found[f"{options.time}_night"] = (hours <= NIGHT_UNTIL).astype(np.float64)
    for name in options.names:
        table = table.append_column(name, pa.array(found[name]))
    return table


def add_history(
    rows: Path, admitted: Path, options: History, label: str, positive: str | None, out: Path, out_admitted: Path
) -> None:
    """Writes the admitted rows of a row file with the columns of `options.names` to `out`, and that all of them are, to `out_admitted`.

    Errors and memory as of `with_history`; of the other columns a batch at a time.
    """
    import numpy as np
    import pyarrow as pa

    from contender.data.rowfile import read_batches

    indices = np.load(admitted)
    read = sorted({options.time, *options.entities, *options.values, label})
    parts = [batch.select(read) for batch in _chosen(read_batches(rows), indices)]
    made = with_history(pa.Table.from_batches(parts), options, label, positive).select(options.names)
    start = 0
    with pa.OSFile(str(out), "wb") as sink:
        writer = None
        for batch in _chosen(read_batches(rows), indices):
            there = pa.Table.from_batches([batch])
            for name in options.names:
                there = there.append_column(name, made.column(name).slice(start, batch.num_rows))
            start += batch.num_rows
            writer = pa.ipc.new_stream(sink, there.schema) if writer is None else writer
            writer.write_table(there.combine_chunks())
        if writer is not None:
            writer.close()
    np.save(out_admitted, np.arange(start))


def _chosen(batches: Iterable[pa.RecordBatch], indices: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Of each batch that has some the rows whose numbers are in `indices`, which is sorted."""
    import numpy as np
    import pyarrow as pa

    start = 0
    for batch in batches:
        first, last = np.searchsorted(indices, [start, start + batch.num_rows])
        if last > first:
            yield batch.take(pa.array(indices[first:last] - start))
        start += batch.num_rows


class _Past:
    """Rows sorted by entity and time, so that a window is a slice; answers come in the order of the table."""

    def __init__(self, codes: np.ndarray, times: np.ndarray, by_time: np.ndarray) -> None:
        import numpy as np

        self._order = by_time[np.argsort(codes[by_time], kind="stable")]
        self._codes, self._times = codes[self._order], np.rint(times[self._order] * 1000).astype(np.int64)
        self._place = np.arange(len(codes))
        _, self._starts, self._of_row = np.unique(self._codes, return_index=True, return_inverse=True)

    def count(self, window: float) -> np.ndarray:
        return self._back((self._place + 1 - self._begin(window)).astype(float))

    def mean(self, values: np.ndarray, window: float) -> np.ndarray:
        """Of the values that are there; NaN where none is."""
        import numpy as np

        there = np.isfinite(values)
        first, last = self._begin(window), self._place + 1
        rows = self._summed(there.astype(np.float64), first, last)
        summed = self._summed(np.where(there, values, 0.0), first, last)
        return self._back(np.divide(summed, rows, out=np.full(len(rows), np.nan), where=rows > 0))

    def share(self, values: np.ndarray, window: float, delay: float) -> np.ndarray:
        """The mean of values over the rows of `window` before the last `delay`; 0 where there are none."""
        import numpy as np

        first, last = self._begin(delay + window), self._begin(delay)
        rows = last - first
        summed = self._summed(values, first, last)
        return self._back(np.divide(summed, rows, out=np.zeros(len(rows)), where=rows > 0))

    def _begin(self, window: float) -> np.ndarray:
        """The place of each row's first row that is less than `window` older, of the same entity."""
        import numpy as np

        # Times of all entities on one line, each entity's a stretch of its own; in whole milliseconds, which nothing rounds.
        wide = int(np.rint(window * 1000))
        start, end = (int(self._times.min()), int(self._times.max())) if len(self._times) else (0, 0)
        line = self._codes * (end - start + wide + 1) + (self._times - start)
        return np.asarray(np.searchsorted(line, line - wide, side="right"))

    def _summed(self, values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        import numpy as np

        # Entity by entity: a running sum over all would carry the rounding of other entities' later rows into the last digits.
        ordered = values[self._order]
        sums = np.zeros(len(ordered) + 1)
        for begin, end in zip(self._starts, [*self._starts[1:], len(ordered)], strict=True):
            np.cumsum(ordered[begin:end], out=sums[begin + 1 : end + 1])
        before = np.where(first > self._starts[self._of_row], sums[first], 0.0)
        return np.where(last > first, sums[last] - before, 0.0)

    def _back(self, sorted_values: np.ndarray) -> np.ndarray:
        import numpy as np

        result = np.empty(len(sorted_values))
        result[self._order] = sorted_values
        return result


def _check(table: pa.Table, options: History, label: str | None, positive: str | None) -> None:
    if options.label_delay is not None and (label is None or positive is None):
        raise UsageError("label_delay needs the column of the label, and which of its values is positive", "Name both.")
    labels = [] if options.label_delay is None else [str(label)]
    there = set(table.column_names)
    if missing := [name for name in (options.time, *options.entities, *options.values, *labels) if name not in there]:
        raise UsageError(
            f"the table has no column {', '.join(missing)}", f"Its columns: {', '.join(table.column_names)}"
        )
    if taken := [name for name in options.names if name in there]:
        raise UsageError(f"the table has a column {taken[0]} already", "Rename it, or compute no history.")


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Which entity each row names, as int64 (rows,); no entity is one of its own."""
    import numpy as np
    import pyarrow.compute as pc

    encoded = as_text(column).combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False), np.int64)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """float64 (rows,), NaN where a cell holds no number."""
    from contender.kinds._table import parsed

    return parsed(as_text(column).to_pylist())[0]
