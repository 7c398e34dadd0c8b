"""Runs a plan over a row file: chunks in pandas, whole columns in SQLite, or all at once where one chunk holds everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contender.errors import UsageError
from contender.quality.engine import Engine, Result, exception_of
from contender.quality.faults import refuse_faulty
from contender.quality.merge import lighten, merge, recount
from contender.quality.plan import Plan, Planned, needed_columns
from contender.quality.rows import MAX_CHUNK_BYTES, RowFile
from contender.quality.scopes import Scope
from contender.quality.table import (
    TABLE,
    TableWriter,
    bad_rows,
    count_rows,
    own_query,
    without_clashes,
    without_values,
)

FEW_ROWS = 1000


@dataclass
class Ran:
    """Results by the expectation's number, and for each critical expectation with bad rows a mask over all rows.

    `beyond_sqlite` are those that SQLite failed at, such as a sum of more than 63 bits.
    """

    rows: int
    results: dict[int, Result] = field(default_factory=dict)
    failed: dict[Planned, np.ndarray] = field(default_factory=dict)
    beyond_sqlite: list[Planned] = field(default_factory=list)

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
    """Every planned expectation's result. `folder` holds the temporary file, gone afterwards.

    UsageError names the expectations that need all rows in memory where there are too many, and those that no data could pass.
    """
    ran = Ran(rows.count())
    _refuse_what_needs_memory(plan.of(Scope.MEMORY), ran.rows, limits.in_memory_rows)
    engine = Engine()
    if ran.rows <= limits.chunk_rows and rows.path.stat().st_size <= MAX_CHUNK_BYTES:
        _at_once(engine, plan.planned, rows, ran)
        if on_rows:
            on_rows(ran.rows)
    else:
        with tempfile.TemporaryDirectory(prefix=".gate-", dir=folder) as temporary:
            _in_chunks(engine, plan, rows, ran, Path(temporary), limits, on_rows)
        _at_once(engine, plan.of(Scope.MEMORY), rows, ran)
    refuse_faulty(engine, plan.planned, ran.results, rows)
    _refuse_what_needs_memory(ran.beyond_sqlite, ran.rows, limits.in_memory_rows)
    _at_once(engine, ran.beyond_sqlite, rows, ran)
    return ran


def _refuse_what_needs_memory(planned: Sequence[Planned], rows: int, most: int) -> None:
    names = [item.name for item in planned]
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
    folder: Path,
    limits: Limits,
    on_rows: Callable[[int], None] | None,
) -> None:
    by_row, by_schema = plan.of(Scope.ROW), plan.of(Scope.SCHEMA)
    columns = needed_columns(by_row, rows.names)
    parts: dict[int, list[Result]] = {item.number: [] for item in by_row}
    with _writers(folder, rows, plan.of(Scope.TABLE)) as writers:
        for start, table in rows.chunks(limits.chunk_rows):
            results = engine.on_frame(rows.frame(table, columns, start), by_row)
            if start == 0:  # rather than after millions of rows
                refuse_faulty(engine, by_row, results, rows)
            for item in by_row:
                ran.mark(item, results[item.number].result.get("unexpected_index_list") or ())
                parts[item.number].append(lighten(results[item.number]))
            for writer in writers:
                writer.write(start, table)
            if on_rows:
                on_rows(start + table.num_rows)
        for writer in writers:
            writer.finish()
    for item in by_row:
        ran.settle(item, merge(parts[item.number], _mostly(item)))
    for writer in writers:
        _on_table(engine, writer, ran)
    empty = rows.frame(rows.schema().empty_table(), list(rows.names), 0)
    for number, result in engine.on_frame(empty, by_schema).items():
        ran.results[number] = result


@contextmanager
def _writers(folder: Path, rows: RowFile, planned: Sequence[Planned]) -> Iterator[list[TableWriter]]:
    """One for each table that the expectations need: nearly always one; closed afterwards."""
    with ExitStack() as stack:
        writers = []
        for number, items in enumerate(without_clashes(planned)):
            writers.append(TableWriter(folder / f"rows-{number}.sqlite", rows, items))
            stack.callback(writers[-1].close)
        yield writers


def _mostly(item: Planned) -> float:
    value: Any = item.kwargs.get("mostly", 1.0)
    try:
        return float(value)
    except (TypeError, ValueError):  # GX says so in its result
        return 1.0


def _on_table(engine: Engine, writer: TableWriter, ran: Ran) -> None:
    results = _in_pandas(engine, writer)
    in_sqlite = engine.on_sqlite(writer.file, TABLE, [item for item in writer.planned if item.number not in results])
    ran.beyond_sqlite += [item for item in writer.planned if exception_of(in_sqlite.get(item.number))]
    for number, result in (results | in_sqlite).items():
        item = next(item for item in writer.planned if item.number == number)
        own = own_query(item)
        if own and not exception_of(result):
            recount(result, count_rows(writer.file, own), _mostly(item))
        query = own or result.result.get("unexpected_index_query")
        if query and item.severity == "critical" and not result.success and not exception_of(result):
            bad_rows(writer.file, query, partial(ran.mark, item))
        ran.settle(item, lighten(result))


def _in_pandas(engine: Engine, writer: TableWriter) -> dict[int, Result]:
    """What a few rows say of all: that a condition cannot be evaluated, and what follows from a column without any value."""
    results: dict[int, Result] = {}
    for item, frame in writer.broken.items():
        results.update(engine.on_frame(frame, [item]))
    bare = [item for item in writer.planned if item.number not in results and without_values(writer.file, item)]
    if bare:
        some = next(table for _, table in writer.rows.chunks(FEW_ROWS))
        results.update(engine.on_frame(writer.rows.frame(some, needed_columns(bare, writer.rows.names), 0), bare))
    return results
