"""Row expectations about rows with any number of labels: lists of text, in JSON.

What is no list of text fails `expect_column_values_to_be_lists_of_text` alone: the others do not look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from contender.data.jsonlists import texts_of
from expectations.labels import ExpectColumnValuesToBeKnownLabels
from expectations.sentences import Sentence
from expectations.text import VISIBLE, matches


class ColumnValuesListVisibleTexts(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.list_visible_texts"
    condition_value_keys = ("max_length",)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], max_length: int = 200, **_: Any) -> pd.Series[Any]:  # noqa: N805
        texts = column.map(texts_of).explode().dropna()
        bad = set(texts.index[~(matches(texts, VISIBLE) & (texts.str.len() <= max_length)).astype(bool)])
        return pd.Series([place not in bad for place in column.index], index=column.index, dtype=bool)


class ExpectColumnValuesToListVisibleTexts(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect every text of every list to have a character that can be seen, and `max_length` characters at most.

    - type: expect_column_values_to_list_visible_texts
      kwargs: {column: labels, max_length: 200}
    """

    max_length: int = 200
    map_metric = "column_values.list_visible_texts"
    success_keys = ("max_length", "mostly")
    args_keys = ("column", "max_length")
    sentence: ClassVar[str] = (
        "$column values must list texts with something to read, of $max_length characters at most."
    )


class ColumnValuesListKnownLabels(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.list_known_labels"
    condition_value_keys = ("reference", "new")

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        column: pd.Series[Any],
        reference: Mapping[str, float] | list[str],
        new: list[str] | None = None,
        **_: Any,
    ) -> pd.Series[Any]:
        known = {*reference, *(new or ())}
        return column.map(lambda value: known.issuperset(texts_of(value) or ())).astype(bool)


class ExpectColumnValuesToListKnownLabels(ExpectColumnValuesToBeKnownLabels):
    """Expect every label of every list to be one of the reference's, or one that is let in by name.

    As expect_column_values_to_be_known_labels, of lists.

        - type: expect_column_values_to_list_known_labels
          kwargs: {column: labels, reference: {$PARAMETER: reference_label_shares}, new: [refund]}
    """

    map_metric = "column_values.list_known_labels"
    sentence: ClassVar[str] = "$column values must list labels that the champion was trained on: $reference."
