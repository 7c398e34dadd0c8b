"""Columns of times as seconds since 1970, whatever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contender.errors import DataError
from contender.text import shorten

if TYPE_CHECKING:
    import numpy as np

DAY = 86_400.0
UNITS = (("d", DAY), ("h", 3600.0), ("m", 60.0), ("s", 1.0))
ADVICE = "Times are dates, timestamps, ISO 8601 such as 2026-11-27T18:00:00, or seconds since 1970."


def seconds_of(column: Any, name: str, place: Callable[[int], str] = lambda row: f"row {row + 1}") -> np.ndarray:
    """An array of times as float64 seconds (rows,); a time without a zone is UTC. DataError naming the first cell that is none.

    For the error, `name` is the column's, and `place` says where a row stands, by its number from 0 on.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    if pt.is_timestamp(kind) or pt.is_date(kind):
        micros = array.cast(pa.timestamp("us", tz=kind.tz if pt.is_timestamp(kind) else None), safe=False)
        found = pc.fill_null(micros.cast(pa.int64()).cast(pa.float64(), safe=False), np.nan).to_numpy() / 1e6
    elif pt.is_integer(kind) or pt.is_floating(kind):
        found = pc.fill_null(array.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    else:
        encoded = array.cast(pa.string()).dictionary_encode()
        known = np.array([*map(_seconds, encoded.dictionary.to_pylist()), np.nan])
        found = known[pc.fill_null(encoded.indices, len(known) - 1).to_numpy(zero_copy_only=False)]
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        value = array[int(bad[0])].as_py()
        shown = "is null" if value is None else f"{shorten(str(value), 80)!r} is no time"
        raise DataError(f"{place(int(bad[0]))}: the cell of column {name} {shown}", ADVICE)
    return np.asarray(found, np.float64)


def _seconds(text: str) -> float:
    cell = text.strip()
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(cell)
    except ValueError:
        return float("nan")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def written(seconds: float) -> str:
    """A time as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def spelled(seconds: float) -> str:
    """A span of time as a spec writes it: 7d, 12h."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0 or size == 1.0)
    return f"{seconds / size:g}{unit}"


def ends(begins: Mapping[str, float]) -> str:
    """Where the sets of a split by time end, in one line; `begins` as of contender.records.SplitReport."""
    return f"train until {written(begins['validation'])}, test after {written(begins['test'])} until {written(begins['newest'])}"
