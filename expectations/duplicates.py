"""Expectations about rows with the same text.

Two texts are the same here when they differ in case, white space or Unicode form alone, as they are for the split.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
import xxhash
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)

from contender.data.normalise import normalised
from expectations.sentences import Sentence

ROW_INDEX = "__row_index"  # in SQLite: the row's place in the snapshot, from 0
KEY_PREFIX = "__key_"  # in SQLite: `text_key` of a column
TYPES_WITH_KEYS = ("expect_column_pair_duplicates_to_agree", "expect_column_pair_rows_to_be_distinct")

_DOMAIN = ("batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser", "ignore_row_if")


def torn_table(text: str, label: str) -> str:
    """In SQLite: the keys of `text` that have more than one `label`, in a column `key`."""
    return f"__torn {len(text)} {text} {label}"


def repeat_table(text: str, label: str) -> str:
    """In SQLite: the places of the rows that repeat an earlier one's key and label, in a column `place`."""
    return f"__repeat {len(text)} {text} {label}"


def text_key(value: Any) -> int | None:
    """A signed 64-bit hash of the normalised text: two different texts among 5 million share one with probability 7e-7.

    None for what holds no text: null, and white space alone. Those rows are not the same text, they are missing one.
    """
    if not isinstance(value, str):
        return None if pd.api.types.is_scalar(value) and pd.isna(value) else text_key(_written(value))
    text = normalised(value)
    return xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass")) - (1 << 63) if text else None


def _written(value: Any) -> str:
    # An array writes only its ends where it is long.
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def text_keys(values: Iterable[Any]) -> list[int | None]:
    return [text_key(value) for value in values]


def _keyed(texts: pd.Series[Any], labels: pd.Series[Any]) -> pd.DataFrame:
    """Key and label of the rows that have both."""
    frame = pd.DataFrame(
        {"key": pd.array(text_keys(texts), dtype="Int64"), "label": labels.to_numpy()}, index=texts.index
    )
    return frame.dropna()


class ColumnPairDuplicatesAgree(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.duplicates_agree"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series[Any], column_B: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N803, N805
        rows = _keyed(column_A, column_B)
        agree = pd.Series(True, index=column_A.index)
        agree[rows.index[rows.groupby("key")["label"].transform("nunique") > 1]] = False
        return agree

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlalchemy(cls, column_A: Any, column_B: Any, **_: Any) -> Any:  # noqa: N803, N805
        key: Any = sa.column(KEY_PREFIX + column_A.name)
        torn = sa.table(torn_table(column_A.name, column_B.name), sa.column("key"))
        return sa.or_(key.is_(None), column_B.is_(None), key.not_in(sa.select(torn.c.key)))


class ExpectColumnPairDuplicatesToAgree(Sentence, ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect rows with the same text (`column_A`) to have the same label (`column_B`).

    All rows of a text that has several labels fail: which one is right cannot be told from the data. Rows where either is null,
    or the text is blank, are not looked at.

        - type: expect_column_pair_duplicates_to_agree
          kwargs: {column_A: text, column_B: label}
    """

    ignore_row_if: Literal["neither"] = "neither"
    map_metric = "column_pair_values.duplicates_agree"
    success_keys = ("ignore_row_if", "mostly")
    args_keys = ("column_A", "column_B")
    sentence: ClassVar[str] = "Rows with the same $column_A must have the same $column_B."


class ColumnPairRowsDistinct(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.rows_distinct"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series[Any], column_B: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N803, N805
        rows = _keyed(column_A, column_B)
        distinct = pd.Series(True, index=column_A.index)
        distinct[rows.index[rows.duplicated()]] = False
        return distinct

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlalchemy(cls, column_A: Any, column_B: Any, **_: Any) -> Any:  # noqa: N803, N805
        place: Any = sa.column(ROW_INDEX)
        repeats = sa.table(repeat_table(column_A.name, column_B.name), sa.column("place"))
        return place.not_in(sa.select(repeats.c.place))


class ExpectColumnPairRowsToBeDistinct(Sentence, ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect no row to repeat an earlier one's text (`column_A`) and label (`column_B`).

    The first of the rows that are the same passes, so the count is the number of rows that could go. Rows where either is null,
    or the text is blank, are not looked at.

        - type: expect_column_pair_rows_to_be_distinct
          kwargs: {column_A: text, column_B: label}
          severity: warning
    """

    ignore_row_if: Literal["neither"] = "neither"
    map_metric = "column_pair_values.rows_distinct"
    success_keys = ("ignore_row_if", "mostly")
    args_keys = ("column_A", "column_B")
    sentence: ClassVar[str] = "No row may repeat the $column_A and $column_B of an earlier one."
