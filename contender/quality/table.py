"""The rows that whole-column expectations need, in one table of a temporary SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from contender.quality.exact import WHERE_PREFIX, is_text, is_whole, is_written, summarises
from contender.quality.plan import Planned, needed_columns
from contender.quality.rows import RowFile
from contender.quality.scopes import columns_of
from expectations.duplicates import KEY_PREFIX, ROW_INDEX, TYPES_WITH_KEYS, repeat_table, text_keys, torn_table

TABLE = "rows"
SHOWN_CHARACTERS = 200  # of a text that is compared by its key and only shown


def without_clashes(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Shared out among tables in which no two columns differ in case alone: SQLite and GX take those for one."""
    tables: list[tuple[dict[str, str], list[Planned]]] = []
    for item in planned:
        names = {name.casefold(): name for name in columns_of(item.kwargs)}
        for taken, items in tables:
            if all(taken.get(folded, name) == name for folded, name in names.items()):
                taken.update(names)
                items.append(item)
                break
        else:
            tables.append((names, [item]))
    return [items for _, items in tables]


class TableWriter:
    """Writes chunks of the view into SQLite; nothing but the columns that `planned` read, and which rows meet their conditions."""

    def __init__(self, file: Path, rows: RowFile, planned: Sequence[Planned]) -> None:
        self.file, self.rows, self.planned = file, rows, planned
        wanted = {name for item in planned for name in columns_of(item.kwargs)}
        self.columns = [name for name in rows.names if name in wanted]
        self.conditions = [item for item in planned if item.query]
        self.broken: dict[Planned, pd.DataFrame] = {}  # whose condition cannot be evaluated, and on what
        self.pairs = {
            (item.kwargs["column_A"], item.kwargs["column_B"]) for item in planned if item.type in TYPES_WITH_KEYS
        }
        self.keyed = sorted({text for text, _ in self.pairs})
        others = {name for item in planned if item.type not in TYPES_WITH_KEYS for name in columns_of(item.kwargs)}
        self.shown = set(self.keyed) - others - {label for _, label in self.pairs}
        self.connection = sqlite3.connect(file, isolation_level=None)
        # A lost temporary file is made again: no journal, no waiting for the disk; 64 MiB of page cache at most.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        self._create()

    def _create(self) -> None:
        names = [f"{_quoted(ROW_INDEX)} INTEGER PRIMARY KEY"]
        names += [f"{_quoted(KEY_PREFIX + name)} INTEGER" for name in self.keyed]
        names += [f"{_where(item)} INTEGER" for item in self.conditions]
        # Without a type SQLite converts nothing: the text "1" is not the number 1, as it is not for pandas.
        names += [_quoted(name) for name in self.columns]
        self.connection.execute(f"CREATE TABLE {TABLE} ({', '.join(names)})")
        marks = ", ".join("?" * len(names))
        self._insert = f"INSERT INTO {TABLE} VALUES ({marks})"

    def write(self, start: int, table: pa.Table) -> None:
        view = self.rows.view(table, self.columns)
        values = {name: view.column(name).to_pylist() for name in self.columns}
        keys = [text_keys(values[name]) for name in self.keyed]
        cells = [
            _shown(values[name]) if name in self.shown else _cells(values[name], view.field(name).type)
            for name in self.columns
        ]
        indices = range(start, start + table.num_rows)
        self.connection.execute("BEGIN")
        self.connection.executemany(self._insert, zip(indices, *keys, *self._met(start, table), *cells, strict=True))
        self.connection.execute("COMMIT")

    def _met(self, start: int, table: pa.Table) -> list[list[int]]:
        """For each condition, whether each row of this chunk meets it: pandas says, as where all rows are in one frame."""
        if not self.conditions:
            return []
        frame = self.rows.frame(table, needed_columns(self.conditions, self.rows.names), start)
        met = []
        for item in self.conditions:
            try:
                places = frame.query(item.query).index
            except Exception:  # noqa: BLE001 - whatever it is, GX says it of this frame
                places = frame.index[:0]
                self.broken.setdefault(item, frame)
            met.append(frame.index.isin(places).astype(int).tolist())
        return met

    def finish(self) -> None:
        """Finds, once and on disk, what the expectations about duplicates ask for several times each."""
        for text, label in sorted(self.pairs):
            key, partner = _quoted(KEY_PREFIX + text), _quoted(label)
            both = f"FROM {TABLE} WHERE {key} IS NOT NULL AND {partner} IS NOT NULL"
            numbered = f"SELECT {ROW_INDEX}, ROW_NUMBER() OVER (PARTITION BY {key}, {partner} ORDER BY {ROW_INDEX}) AS n {both}"
            for statement in (
                # In the index's order neither of the two queries sorts.
                f"CREATE INDEX {_quoted(f'by {len(text)} {text} {label}')} ON {TABLE} ({key}, {partner})",
                f"CREATE TABLE {_quoted(torn_table(text, label))} (key INTEGER PRIMARY KEY)",
                f"INSERT INTO {_quoted(torn_table(text, label))} "
                f"SELECT {key} {both} GROUP BY {key} HAVING MIN({partner}) <> MAX({partner})",
                f"CREATE TABLE {_quoted(repeat_table(text, label))} (place INTEGER PRIMARY KEY)",
                f"INSERT INTO {_quoted(repeat_table(text, label))} SELECT {ROW_INDEX} FROM ({numbered}) WHERE n > 1",
            ):
                self.connection.execute(statement)

    def close(self) -> None:
        self.connection.close()


def in_sqlite(item: Planned) -> Planned:
    """The expectation as it is asked of the table: its condition is a column there."""
    if not item.query:
        return item
    met = {"type": "comparison", "column": {"name": f"{WHERE_PREFIX}{item.number}"}, "operator": "==", "parameter": 1}
    kwargs = {name: value for name, value in item.kwargs.items() if name != "condition_parser"}
    return replace(item, kwargs={**kwargs, "row_condition": met})


def without_values(file: Path, item: Planned) -> bool:
    """Whether an expectation about a column's values as a whole finds none: SQL knows no sum of nothing, pandas does."""
    if not summarises(item.type, item.kwargs):
        return False
    met = f" AND {_where(item)} = 1" if item.query else ""
    (column,) = columns_of(item.kwargs)
    return not count_rows(file, f"SELECT 1 FROM {TABLE} WHERE {_quoted(column)} IS NOT NULL{met} LIMIT 1")


def own_query(item: Planned) -> str | None:
    """Ours for the rows that fail, where GX's SQL is wrong; None where GX's is right.

    For compound uniqueness 1.24.1 compares with `=`, so rows that share a null are never duplicates, as they are in pandas, and its
    query for the rows joins two sources without a condition.
    """
    if item.type != "expect_compound_columns_to_be_unique":
        return None
    names = [_quoted(name) for name in item.kwargs["column_list"]]
    joint = {"all_values_are_missing": " OR ", "any_value_is_missing": " AND "}.get(
        item.kwargs.get("ignore_row_if", "all_values_are_missing")
    )
    asked_of = [f"({joint.join(f'{name} IS NOT NULL' for name in names)})"] if joint else []
    asked_of += [f"{_where(item)} = 1"] if item.query else []
    where = f"WHERE {' AND '.join(asked_of)}" if asked_of else ""
    counted = f"SELECT {ROW_INDEX}, COUNT(*) OVER (PARTITION BY {', '.join(names)}) AS n FROM {TABLE} {where}"
    return f"SELECT {ROW_INDEX} FROM ({counted}) WHERE n > 1"


def count_rows(file: Path, query: str) -> int:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(connection.execute(f"SELECT COUNT(*) FROM ({query})").fetchone()[0])
    finally:
        connection.close()


def bad_rows(file: Path, query: str, mark: Callable[[np.ndarray], None], step: int = 100_000) -> None:
    """Runs GX's query for the rows that fail and marks their indices, `step` at a time."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        cursor = connection.execute(query.strip().removesuffix(";"))
        place = [column[0] for column in cursor.description].index(ROW_INDEX)
        while rows := cursor.fetchmany(step):
            mark(np.fromiter((row[place] for row in rows), dtype=np.int64, count=len(rows)))
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _where(item: Planned) -> str:
    """The column that says which rows meet an expectation's condition."""
    return _quoted(f"{WHERE_PREFIX}{item.number}")


def _shown(values: Iterable[Any]) -> Iterator[Any]:
    return (None if value is None else str(value)[:SHOWN_CHARACTERS] for value in values)


def _cells(values: list[Any], kind: pa.DataType) -> Iterator[Any]:
    """Values as SQLite holds them: NaN is null, as it is for pandas; of types that it cannot hold, only whether there is one."""
    if is_text(kind) or is_whole(kind):
        return iter(values)
    if pa.types.is_floating(kind):
        return (None if value is None or value != value else float(value) for value in values)
    if pa.types.is_boolean(kind):
        return (None if value is None else int(value) for value in values)
    if is_written(kind):
        return (None if value is None else str(value) for value in values)
    return (None if value is None else 1 for value in values)
