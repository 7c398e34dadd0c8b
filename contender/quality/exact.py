"""Which whole-column expectations SQLite answers as pandas does: by what they ask of a column, and its type.

Great Expectations' two engines differ: SQLite has no decimals, times or lists, adds narrow floats as wide ones, and takes two names
that differ in case for one. tests/core/test_quality_sqlite.py holds every kind of column against every expectation.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pyarrow as pa

from contender.quality.scopes import columns_of
from expectations.duplicates import KEY_PREFIX, ROW_INDEX, TYPES_WITH_KEYS

WHERE_PREFIX = "__where_"  # in SQLite: whether a row meets an expectation's condition


class Asks(Enum):
    """What an expectation wants to know of a column's values."""

    NULLS = "which are null"
    SAMENESS = "which are the same"
    VALUES = "what they are"
    ORDER = "the first and the last"
    NUMBERS = "sums and places in their order"
    BINS = "how many lie between two bounds"


_TYPES = {
    Asks.NULLS: "expect_column_proportion_of_non_null_values_to_be_between",
    Asks.SAMENESS: """
expect_column_proportion_of_unique_values_to_be_between expect_column_unique_value_count_to_be_between
expect_column_values_to_be_unique expect_compound_columns_to_be_unique
expect_column_pair_duplicates_to_agree expect_column_pair_rows_to_be_distinct
""",
    Asks.VALUES: """
expect_column_distinct_values_to_be_in_set expect_column_distinct_values_to_contain_set
expect_column_distinct_values_to_equal_set expect_column_kl_divergence_to_be_less_than
expect_column_most_common_value_to_be_in_set expect_column_every_value_to_have_rows
expect_column_shares_to_match_reference
""",
    Asks.ORDER: "expect_column_max_to_be_between expect_column_min_to_be_between",
    Asks.NUMBERS: """
expect_column_mean_to_be_between expect_column_median_to_be_between expect_column_quantile_values_to_be_between
expect_column_stdev_to_be_between expect_column_sum_to_be_between
""",
}
ASKED = {name: asks for asks, names in _TYPES.items() for name in names.split()}

_NAMED = {Asks.NULLS, Asks.SAMENESS, Asks.VALUES, Asks.ORDER}
_COUNTED = {Asks.NULLS, Asks.SAMENESS, Asks.ORDER, Asks.NUMBERS}
_WRITTEN = {Asks.NULLS, Asks.SAMENESS}  # as text: the same text for the same value, and no more


def asked(kind: str, kwargs: Mapping[str, Any]) -> Asks | None:
    """What an expectation asks of its columns; None where it has none."""
    partition = kwargs.get("partition_object")
    return Asks.BINS if isinstance(partition, Mapping) and "bins" in partition else ASKED.get(kind)


def summarises(kind: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether it tells one thing of all values of a column, so that a column without any is a case of its own."""
    return asked(kind, kwargs) in (Asks.ORDER, Asks.NUMBERS, Asks.BINS) or "partition_object" in kwargs


def given(kind: pa.DataType) -> set[Asks]:
    """What SQLite tells of a column of this type as pandas does."""
    if is_text(kind):
        return _NAMED
    if pa.types.is_boolean(kind):
        return _COUNTED
    if is_whole(kind):
        return _COUNTED | _NAMED
    if pa.types.is_float64(kind):
        return set(Asks)
    return _WRITTEN if is_written(kind) else {Asks.NULLS}


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_whole(kind: pa.DataType) -> bool:
    """Whole numbers of at most 63 bits and a sign, SQLite's own."""
    return bool(pa.types.is_integer(kind) and kind != pa.uint64())


def is_written(kind: pa.DataType) -> bool:
    """Types whose values are told apart by how they are written."""
    tests = (
        pa.types.is_uint64,
        pa.types.is_floating,
        pa.types.is_date32,
        pa.types.is_timestamp,
        pa.types.is_decimal,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(kind) for test in tests)


def exact_in_sqlite(kind: str, kwargs: Mapping[str, Any], types: Mapping[str, pa.DataType]) -> bool:
    """Whether SQLite answers this whole-column expectation as pandas does; columns without a type are text."""
    names, asks, values = columns_of(kwargs), asked(kind, kwargs), kwargs.get("value_set")
    return (
        (asks is None or all(asks in given(types.get(name, pa.string())) for name in names))
        and not _clash(names)
        and (not isinstance(values, list) or all(map(_is_plain, values)))
        # Interpolated quantiles: GX's SQL has none.
        and not kwargs.get("allow_relative_error")
        # What repeats is found once, among all rows.
        and not (kind in TYPES_WITH_KEYS and kwargs.get("row_condition") is not None)
    )


def _clash(names: list[str]) -> bool:
    """Whether SQLite would take a column for another one, or for one of ours."""
    folded = [str(name).casefold() for name in dict.fromkeys(names)]
    return len({*folded}) < len(folded) or any(
        name.startswith((ROW_INDEX, KEY_PREFIX, WHERE_PREFIX)) for name in folded
    )


def _is_plain(value: Any) -> bool:
    """What both compare alike: null is like nothing in SQL, a date is text there."""
    return isinstance(value, str | int | float) and value == value
