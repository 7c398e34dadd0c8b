"""One model on one held-out set: its metrics, overall and by slice, and the id of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.errors import DataError
from contender.evaluation.metrics import metric_revisions, scores
from contender.evaluation.outcomes import Array, Outcomes, from_table
from contender.records import SetEvaluation, digest

__all__ = ["evaluate_set", "evaluation_id", "metric_revisions", "read_columns"]

if TYPE_CHECKING:
    import pyarrow as pa

SLICE_VALUES = 50  # values of one slice that are reported, the most frequent ones: a column of ids has as many as rows
NO_VALUE = "(no value)"


def evaluate_set(
    name: str, rows: Path, set_digest: str, outcomes: pa.Table, metrics: Sequence[str], slices: Sequence[str]
) -> SetEvaluation:
    """Metrics of `outcomes` over the set `name`, overall and for each value of the `slices` columns of the row file `rows`.

    A slice's metrics carry `rows`, its size. DataError where the set is empty or outcomes and rows do not match.
    """
    prepared = from_table(outcomes)
    return SetEvaluation(
        set=name,
        set_digest=set_digest,
        rows=prepared.rows,
        metrics=scores(prepared, metrics),
        slices=dict(_by_slice(prepared, rows, metrics, slices)),
    )


def evaluation_id(
    release: str,
    champion: str | None,
    sets: Mapping[str, str],
    revisions: Mapping[str, int],
    device: str,
    dtype: str,
    rated: Mapping[str, Any] | None = None,
    out_of_scope: str | None = None,
) -> str:
    """`e-` and 16 hex over all that an evaluation depends on; `sets` maps each held-out set to its digest, `rated`: see plan.rating."""
    known: list[Any] = [release, champion, dict(sets), dict(revisions), device, dtype]
    known += [dict(rated)] if rated else []
    known += [out_of_scope] if out_of_scope is not None else []
    return f"e-{digest(known)[:16]}"


def read_columns(rows: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a row file, memory-mapped; DataError naming those that it does not have."""
    import pyarrow as pa

    with pa.memory_map(str(rows)) as source:
        schema = pa.ipc.open_stream(source).schema
        missing = [column for column in columns if column not in schema.names]
        if missing:
            raise DataError(
                f"{rows.name} has no column {', '.join(missing)}", f"Its columns: {', '.join(schema.names)}"
            )
        options = pa.ipc.IpcReadOptions(included_fields=[schema.names.index(column) for column in columns])
        source.seek(0)
        return pa.ipc.open_stream(source, options=options).read_all()


def _by_slice(
    outcomes: Outcomes, rows: Path, metrics: Sequence[str], slices: Sequence[str]
) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    if not slices:
        return
    table = read_columns(rows, list(slices))
    if table.num_rows != outcomes.rows:
        raise DataError(f"{rows.name} has {table.num_rows:,} rows, its outcomes {outcomes.rows:,}", "Predict again.")
    for column in slices:
        yield (
            column,
            {
                value: {"rows": float(len(members))} | scores(outcomes.take(members), metrics)
                for value, members in islice(groups(table.column(column)), SLICE_VALUES)
            },
        )


def groups(column: pa.ChunkedArray) -> Iterator[tuple[str, Array]]:
    """The values of a column, the most frequent first, each with the indices of its rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.fill_null(column.cast(pa.string()), NO_VALUE).dictionary_encode().unify_dictionaries()
    names = text.chunk(0).dictionary.to_pylist() if text.num_chunks else []
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in text.chunks])
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(names))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for code in np.argsort(-counts, kind="stable"):
        yield names[code], order[starts[code] : starts[code + 1]]
