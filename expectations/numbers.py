"""Row expectations about numbers: that they are such as can be computed with."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    MulticolumnMapMetricProvider,
    multicolumn_condition_partial,
)

from expectations.sentences import Sentence
from expectations.text import matches

# How programs write an infinity, and a number beyond what 64 bits hold; that it is one, float() says.
INFINITE = r"^\s*[+-]?(?i:inf(inity)?|([0-9]+\.?[0-9]*|\.[0-9]+)e\+?[0-9]{3,}|[0-9]{309,}(\.[0-9]*)?)\s*$"


class MulticolumnValuesFinite(MulticolumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "multicolumn_values.finite"
    condition_domain_keys = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")
    condition_value_keys = ()

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, **_: Any) -> pd.Series[Any]:  # noqa: N805
        infinite: pd.Series[Any] = column_list.apply(_infinite).any(axis="columns")
        return ~infinite


def _infinite(column: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_float_dtype(column.dtype):
        return pd.Series(np.isinf(column.to_numpy(np.float64, na_value=np.nan)), index=column.index)
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    # The pattern finds few, of which 0e999 is none.
    found = column.where(matches(column, INFINITE), "0").map(lambda value: bool(np.isinf(float(value))))
    return found.astype(bool)


class ExpectMulticolumnValuesToBeFinite(Sentence, MulticolumnMapExpectation):  # type: ignore[misc]
    """Expect no cell of these columns to be an infinity, or a number too large for 64 bits.

    `{$PARAMETER: other_columns}` are all columns without a role.

        - type: expect_multicolumn_values_to_be_finite
          kwargs: {column_list: {$PARAMETER: other_columns}}
    """

    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "all_values_are_missing"
    map_metric = "multicolumn_values.finite"
    success_keys = ("ignore_row_if", "mostly")
    args_keys = ("column_list",)
    sentence: ClassVar[str] = "values of $column_list must be finite."
