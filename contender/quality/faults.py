"""Whether an expectation that could not be evaluated is at fault itself, or the data.

`(` is no regular expression whatever the rows are; a text that is no JSON, or a column that became text, comes with the data. So an
expectation that failed to run runs once more, on a few plain rows of each kind: where none of them will do, the suite is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from contender.errors import UsageError
from contender.quality.engine import Engine, Result, exception_of
from contender.quality.plan import Planned
from contender.text import terminal_safe

if TYPE_CHECKING:
    from contender.quality.rows import RowFile

# Numbers, JSON and words alike.
_TEXTS: pd.Series[Any] = pd.Series(["1", "2", "3", "4", "5"], dtype="str")
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], pd.Series[Any]], ...] = (
    (pa.types.is_integer, pd.Series([1, 2, 3, 4, 5], dtype="Int64")),
    (pa.types.is_floating, pd.Series([1.5, 2.5, 3.5, 4.5, 5.5])),
    (pa.types.is_boolean, pd.Series([True, False, True, False, True], dtype="boolean")),
    (pa.types.is_timestamp, pd.Series(pd.date_range("2020-01-01", periods=5))),
    (pa.types.is_date, pd.Series([date(2020, 1, day) for day in range(1, 6)], dtype="object")),
)


def refuse_faulty(engine: Engine, planned: Iterable[Planned], results: Mapping[int, Result], rows: RowFile) -> None:
    """UsageError names the expectations that could not be evaluated and that no data could have passed.

    Why, in the words of the trial on plain rows: what was raised on the data may quote them.
    """
    faulty = [item for item in planned if exception_of(results[item.number])]
    why: dict[int, str] = {}
    for frame in _plain_frames(rows) if faulty else ():
        why = {number: exception_of(tried) or "" for number, tried in engine.on_frame(frame, faulty).items()}
        faulty = [item for item in faulty if why[item.number]]
    if faulty:
        raise UsageError(
            "; ".join(
                f"expectation {item.number + 1} of the suite, {item.name}, cannot be evaluated: "
                + terminal_safe(why[item.number])
                for item in faulty
            ),
            "Correct its kwargs in the suite; expectations/README.md has examples.",
        )


def _plain_frames(rows: RowFile) -> Iterator[pd.DataFrame]:
    """Each column as its own kind, then all as one; roles are always text."""
    types = rows.types()
    yield pd.DataFrame({name: _plain(types.get(name, pa.string())) for name in rows.names})
    for series in (_TEXTS, *(series for _, series in _KINDS)):
        yield pd.DataFrame({name: _TEXTS if name in rows.roles else series for name in rows.names})


def _plain(kind: pa.DataType) -> pd.Series[Any]:
    return next((series for test, series in _KINDS if test(kind)), _TEXTS)
