"""Runs a plan over a row file: chunks in pandas, whole columns in SQLite, or all at once where one chunk holds everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contender.errors import UsageError
from contender.quality.engine import Engine, Result, exception_of
from contender.quality.merge import lighten, merge, recount
from contender.quality.plan import Plan, Planned, needed_columns
from contender.quality.rows import MAX_CHUNK_BYTES, RowFile
from contender.quality.scopes import Scope
from contender.quality.table import TABLE, TableWriter, bad_rows, count_rows, own_query


@dataclass
class Ran:
    """Results by the expectation's number, and for each critical expectation with bad rows a mask over all rows."""

    rows: int
    results: dict[int, Result] = field(default_factory=dict)
    failed: dict[Planned, np.ndarray] = field(default_factory=dict)

    def mark(self, item: Planned, indices: Sequence[int] | np.ndarray) -> None:
        if item.severity == "critical" and len(indices):
            mask = self.failed.setdefault(item, np.zeros(self.rows, dtype=bool))
            mask[np.asarray(indices, dtype=np.int64)] = True

    def settle(self, item: Planned, result: Result) -> None:
        """Takes the final result; where it succeeded, within its `mostly`, its rows are as good as the others."""
        self.results[item.number] = result
        if result.success:
            self.failed.pop(item, None)


@dataclass(frozen=True)
class Limits:
    """How much is looked at at once: rows of a chunk, and rows that may be in memory together."""

    chunk_rows: int
    in_memory_rows: int


def run(plan: Plan, rows: RowFile, folder: Path, limits: Limits, on_rows: Callable[[int], None] | None = None) -> Ran:
    """Every planned expectation's result. `folder` holds the temporary file, gone afterwards."""
    ran = Ran(rows.count())
    _refuse_what_needs_memory(plan, ran.rows, limits.in_memory_rows)
    engine = Engine()
    if ran.rows <= limits.chunk_rows and rows.path.stat().st_size <= MAX_CHUNK_BYTES:
        _at_once(engine, plan.planned, rows, ran)
        if on_rows:
            on_rows(ran.rows)
        return ran
    with tempfile.TemporaryDirectory(prefix=".gate-", dir=folder) as temporary:
        _in_chunks(engine, plan, rows, ran, Path(temporary) / "rows.sqlite", limits, on_rows)
    _at_once(engine, plan.of(Scope.MEMORY), rows, ran)
    return ran


def _refuse_what_needs_memory(plan: Plan, rows: int, most: int) -> None:
    names = [item.name for item in plan.of(Scope.MEMORY)]
    if names and rows > most:
        raise UsageError(
            f"{', '.join(names)} would need all {rows:,} rows in memory, above quality.in_memory_rows: {most:,}",
            "Raise quality.in_memory_rows if the memory is there, or take the expectation out of the suite.",
        )


def _at_once(engine: Engine, planned: Sequence[Planned], rows: RowFile, ran: Ran) -> None:
    """All rows in one frame."""
    if not planned:
        return
    tables = [table for _, table in rows.chunks(max(ran.rows, 1))]
    whole = pa.concat_tables(tables) if tables else rows.schema().empty_table()
    columns = (
        list(rows.names) if any(item.scope is Scope.SCHEMA for item in planned) else needed_columns(planned, rows.names)
    )
    for number, result in engine.on_frame(rows.frame(whole, columns, 0), planned).items():
        item = next(item for item in planned if item.number == number)
        ran.mark(item, result.result.get("unexpected_index_list") or ())
        ran.settle(item, lighten(result))


def _in_chunks(
    engine: Engine,
    plan: Plan,
    rows: RowFile,
    ran: Ran,
    file: Path,
    limits: Limits,
    on_rows: Callable[[int], None] | None,
) -> None:
    by_row, by_table, by_schema = plan.of(Scope.ROW), plan.of(Scope.TABLE), plan.of(Scope.SCHEMA)
    columns = needed_columns(by_row, rows.names)
    parts: dict[int, list[Result]] = {item.number: [] for item in by_row}
    writer = TableWriter(file, rows, by_table) if by_table else None
    try:
        for start, table in rows.chunks(limits.chunk_rows):
            results = engine.on_frame(rows.frame(table, columns, start), by_row)
            for item in by_row:
                ran.mark(item, results[item.number].result.get("unexpected_index_list") or ())
                parts[item.number].append(lighten(results[item.number]))
            if writer:
                writer.write(start, table)
            if on_rows:
                on_rows(start + table.num_rows)
        if writer:
            writer.finish()
    finally:
        if writer:
            writer.close()
    for item in by_row:
        ran.settle(item, merge(parts[item.number], _mostly(item)))
    _on_table(engine, by_table, file, ran)
    empty = rows.frame(rows.schema().empty_table(), list(rows.names), 0)
    for number, result in engine.on_frame(empty, by_schema).items():
        ran.results[number] = result


def _mostly(item: Planned) -> float:
    value: Any = item.kwargs.get("mostly", 1.0)
    return float(value)


def _on_table(engine: Engine, planned: Sequence[Planned], file: Path, ran: Ran) -> None:
    if not planned:
        return
    results = engine.on_sqlite(file, TABLE, planned)
    for item in planned:
        result = results[item.number]
        own = own_query(item)
        if own and not exception_of(result):
            recount(result, count_rows(file, own), _mostly(item))
        query = own or result.result.get("unexpected_index_query")
        if query and item.severity == "critical" and not result.success and not exception_of(result):
            bad_rows(file, query, partial(ran.mark, item))
        ran.settle(item, lighten(result))
