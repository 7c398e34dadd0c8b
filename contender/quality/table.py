"""The rows that whole-column expectations need, in one table of a temporary SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contender.quality.plan import Planned, needed_columns
from contender.quality.rows import RowFile
from expectations.duplicates import KEY_PREFIX, ROW_INDEX, TYPES_WITH_KEYS, repeat_table, text_keys, torn_table

TABLE = "rows"
SHOWN_CHARACTERS = 200  # of a text that is compared by its key and only shown


class TableWriter:
    """Writes chunks of the view into SQLite; nothing but the columns that `planned` read."""

    def __init__(self, file: Path, rows: RowFile, planned: Sequence[Planned]) -> None:
        self.rows = rows
        self.columns = needed_columns(planned, rows.names)
        self.pairs = {
            (item.kwargs["column_A"], item.kwargs["column_B"]) for item in planned if item.type in TYPES_WITH_KEYS
        }
        self.keyed = sorted({text for text, _ in self.pairs})
        others = [item for item in planned if item.type not in TYPES_WITH_KEYS]
        self.shown = set(self.keyed) - set(needed_columns(others, rows.names))
        self.connection = sqlite3.connect(file, isolation_level=None)
        # A lost temporary file is made again: no journal, no waiting for the disk; 64 MiB of page cache at most.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-65536"):
            self.connection.execute(f"PRAGMA {pragma}")
        self._create()

    def _create(self) -> None:
        schema = self.rows.schema()
        names = [f"{_quoted(ROW_INDEX)} INTEGER PRIMARY KEY"]
        names += [f"{_quoted(KEY_PREFIX + name)} INTEGER" for name in self.keyed]
        for name in self.columns:
            kind = "TEXT" if name in self.rows.roles else _sqlite_type(schema.field(self.rows.names[name]).type)
            names.append(f"{_quoted(name)} {kind}")
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
        self.connection.executemany(self._insert, zip(indices, *keys, *cells, strict=True))
        self.connection.execute("COMMIT")

    def finish(self) -> None:
        """Finds, once and on disk, what the expectations about duplicates ask for several times each."""
        for text, label in sorted(self.pairs):
            key, partner = _quoted(KEY_PREFIX + text), _quoted(label)
            both = f"FROM {TABLE} WHERE {key} IS NOT NULL AND {partner} IS NOT NULL"
            numbered = f"SELECT {ROW_INDEX}, ROW_NUMBER() OVER (PARTITION BY {key}, {partner} ORDER BY {ROW_INDEX}) AS n {both}"
            for statement in (
                # In the index's order neither of the two queries sorts.
                f"CREATE INDEX {_quoted(f'by {text} {label}')} ON {TABLE} ({key}, {partner})",
                f"CREATE TABLE {_quoted(torn_table(text, label))} (key INTEGER PRIMARY KEY)",
                f"INSERT INTO {_quoted(torn_table(text, label))} "
                f"SELECT {key} {both} GROUP BY {key} HAVING MIN({partner}) <> MAX({partner})",
                f"CREATE TABLE {_quoted(repeat_table(text, label))} (place INTEGER PRIMARY KEY)",
                f"INSERT INTO {_quoted(repeat_table(text, label))} SELECT {ROW_INDEX} FROM ({numbered}) WHERE n > 1",
            ):
                self.connection.execute(statement)

    def close(self) -> None:
        self.connection.close()


def own_query(item: Planned) -> str | None:
    """Ours for the rows that fail, where GX's SQL is wrong; None where GX's is right.

    For compound uniqueness 1.24.1 compares with `=`, so rows that share a null are never duplicates, as they are in pandas, and its
    query for the rows joins two sources without a condition.
    """
    if item.type != "expect_compound_columns_to_be_unique" or item.kwargs.get("row_condition"):
        return None
    names = [_quoted(name) for name in item.kwargs["column_list"]]
    joint = {"all_values_are_missing": " OR ", "any_value_is_missing": " AND "}.get(
        item.kwargs.get("ignore_row_if", "all_values_are_missing")
    )
    where = f"WHERE {joint.join(f'{name} IS NOT NULL' for name in names)}" if joint else ""
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


def _sqlite_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    return "REAL" if pa.types.is_floating(kind) else "TEXT"


def _shown(values: list[Any]) -> Iterator[Any]:
    return (value[:SHOWN_CHARACTERS] if value is not None else None for value in values)


def _cells(values: list[Any], kind: pa.DataType) -> Iterator[Any]:
    """Values as SQLite holds them: NaN is null, as it is for pandas, and what is no number is text."""
    if pa.types.is_floating(kind):
        return (None if value is None or value != value else value for value in values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return iter(values)
    if pa.types.is_boolean(kind):
        return (None if value is None else int(value) for value in values)
    return (None if value is None else str(value) for value in values)
