"""Columns of a table as numbers that a model reads: what was learned from the training rows, kept as JSON.

A numeric column becomes its place among quantiles of the training rows: 2.5 is halfway between the third and the fourth edge. That
takes any scale, and what lies beyond all that was seen, infinities included, lands on the outermost edge. NaN stands for a missing
number. A category becomes its code; UNSEEN is that of every value that the training rows had less than twice or never, MISSING that
of none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contender.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FILE_NAME = "table_encoder.json"
VERSION = 1

# How tables write that there is nothing, compared without white space around it and without case.
NOTHING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "<na>"})

BINS = 48  # of a numeric column, at most: Gorishniy et al. 2022 (arXiv:2203.05556) found little beyond it
SAMPLED = 200_000  # rows whose values decide the edges; more would move a quantile by little
FEWEST = 2  # rows that make a category worth a code of its own
MOST_CATEGORIES = 10_000  # of one column, the most frequent ones
UNSEEN, MISSING, FIRST = 0, 1, 2

Columns = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Column:
    """One column: the edges of a numeric one, or the categories of the others."""

    name: str
    type: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass
class TableEncoder:
    """Columns of text to the tensors of a model; `fit` makes it from training rows, `load` from a model's folder."""

    columns: tuple[Column, ...]
    constant: tuple[str, ...] = ()  # columns that hold one value in all training rows: they say nothing
    codes: dict[str, dict[str, int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.codes = {
            column.name: {value: FIRST + code for code, value in enumerate(column.categories)}
            for column in self.columns
            if column.type == "category"
        }

    @property
    def numbers(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.type == "number")

    @property
    def categories(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.type == "category")

    @property
    def bins(self) -> list[int]:
        """Of each numeric column."""
        return [len(column.edges) - 1 for column in self.numbers]

    @property
    def sizes(self) -> list[int]:
        """Codes of each categorical column, those for unseen and missing values among them."""
        return [FIRST + len(column.categories) for column in self.categories]

    def encode(self, rows: Columns) -> dict[str, np.ndarray]:
        """`numbers` float32 (rows, numeric columns), NaN where missing, and `categories` int64 (rows, categorical columns).

        An entry is left out where the table has no such column. A numeric column's cell that holds no number counts as missing.
        """
        import numpy as np

        found: dict[str, np.ndarray] = {}
        if self.numbers:
            places = [_places(parsed(rows[column.name])[0], column.edges) for column in self.numbers]
            found["numbers"] = np.stack(places, axis=1)
        if self.categories:
            found["categories"] = np.stack(
                [self._coded(rows[column.name], column) for column in self.categories], axis=1
            )
        return found

    def _coded(self, values: Sequence[str | None], column: Column) -> np.ndarray:
        import numpy as np

        codes = self.codes[column.name]
        found = ((value is None, value) for value in map(cell, values))
        return np.array([MISSING if missing else codes.get(str(value), UNSEEN) for missing, value in found], np.int64)

    def save_pretrained(self, folder: str) -> None:
        """Writes the encoder into a model's folder, as JSON."""
        columns = [
            {"name": column.name, "type": column.type}
            | ({"edges": column.edges} if column.type == "number" else {"categories": column.categories})
            for column in self.columns
        ]
        value = {"version": VERSION, "columns": columns, "constant": self.constant}
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        Path(folder, FILE_NAME).write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> TableEncoder:
    """The encoder in a model's folder; ModelError where there is none that this version reads."""
    try:
        value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            raise ModelError(
                f"{folder / FILE_NAME} is of version {value['version']}, and this one reads {VERSION}",
                "Use the version of contender that made the release.",
            )
        columns = tuple(
            Column(
                str(one["name"]),
                one["type"],
                tuple(map(float, one.get("edges", ()))),
                tuple(map(str, one.get("categories", ()))),
            )
            for one in value["columns"]
        )
        return TableEncoder(columns, tuple(value["constant"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / FILE_NAME} cannot be read: {type(error).__name__}: {error}", "Verify the release."
        ) from error


def fit(columns: Mapping[str, pa.ChunkedArray], categorical: Iterable[str] = ()) -> TableEncoder:
    """The encoder for columns of text (rows,) of the training rows, in the order given.

    A column is numeric where every cell that is not missing holds a number and `categorical` does not name it. DataError where
    no column tells two rows apart.
    """
    named = set(categorical)
    found, constant = [], []
    for name, cells in columns.items():
        column = _fitted(name, cells, name in named)
        if column is None:
            constant.append(name)
        else:
            found.append(column)
    if not found:
        raise DataError(
            f"no column tells two training rows apart: {', '.join(constant) or 'there is none'}",
            "Bring columns to learn from: data.features says which are read.",
        )
    return TableEncoder(tuple(found), tuple(constant))


def _fitted(name: str, cells: pa.ChunkedArray, categorical: bool) -> Column | None:
    """The column as the training rows have it; None where all of them hold the same."""
    import numpy as np

    counted = _counted(cells)
    if len(counted) < 2:
        return None
    present = [value for value in counted if value is not None]
    values, bad = parsed(present)
    if not categorical and present and not bad.any():
        sample = np.unique(np.linspace(0, len(cells) - 1, num=min(len(cells), SAMPLED)).astype(np.int64))
        drawn, _ = parsed(cells.take(sample).to_pylist())
        # Quantiles of a sample may miss what is rare; its least and largest values need not.
        finite = values[np.isfinite(values)]
        if len(finite):
            return Column(
                name, "number", edges=_edges(drawn[np.isfinite(drawn)], float(finite.min()), float(finite.max()))
            )
    frequent = sorted((-count, value) for value, count in counted.items() if value is not None and count >= FEWEST)
    return Column(name, "category", categories=tuple(value for _, value in frequent[:MOST_CATEGORIES]))


def _counted(cells: pa.ChunkedArray) -> dict[str | None, int]:
    """Cell → rows; None is the missing ones, however they are written."""
    import pyarrow.compute as pc

    counted: dict[str | None, int] = {}
    for entry in pc.value_counts(cells).to_pylist():
        value = cell(entry["values"])
        counted[value] = counted.get(value, 0) + entry["counts"]
    return counted


def _edges(values: np.ndarray, low: float, high: float) -> tuple[float, ...]:
    """At most BINS + 1 distinct rising edges, the ends among them: quantiles of the rows, and where many rows share a value, of the
    distinct values too, or a column that is mostly zero would have no edges where it says something."""
    import numpy as np

    distinct = np.unique(np.concatenate([values, [low, high]]))
    if len(distinct) > BINS + 1:
        of_rows = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1), method="nearest"))
        left = BINS + 1 - len(np.union1d(of_rows, [low, high]))
        places = np.linspace(0, len(distinct) - 1, num=max(left, 0) + 2)[1:-1].astype(np.int64)
        chosen = np.union1d(np.concatenate([of_rows, [low, high]]), distinct[places])
        # The two ends may have come on top of quantiles that were all distinct.
        distinct = np.delete(chosen, np.arange(1, 1 + max(0, len(chosen) - BINS - 1)))
    return tuple(map(float, distinct if len(distinct) > 1 else [low, low + 1.0]))


def _places(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """float32 (rows,): each value's place among the edges, from 0 to the number of bins; NaN stays."""
    import numpy as np

    return np.asarray(np.interp(values, edges, np.arange(len(edges))), np.float32)


def parsed(values: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Cells as float64 (rows,), NaN where there is no number, and bool (rows,): a cell that holds something else."""
    import numpy as np
    import pyarrow as pa

    bad = np.zeros(len(values), bool)
    with suppress(pa.ArrowInvalid):  # most columns hold nothing but numbers, and this is fifty times as fast
        plain = pa.array(values, pa.string()).cast(pa.float64())
        return np.asarray(plain.fill_null(np.nan), np.float64), bad
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(map(cell, values)):
        if value is not None:
            number = _number(value)
            bad[row] = number is None
            numbers[row] = np.nan if number is None else number
    return numbers, bad


def cell(value: str | None) -> str | None:
    """A cell without white space around it; None where it says that there is nothing."""
    text = None if value is None else value.strip()
    return None if text is None or text.lower() in NOTHING else text


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python reads 1_000 as a number, and no table means one by it
    except ValueError:
        return None
