"""Row expectations about tagged sentences: words and tags as lists of text, in JSON, one tag for each word.

What is no list of text fails `expect_column_values_to_be_lists_of_text` alone: the others do not look at it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    ColumnPairMapMetricProvider,
    column_condition_partial,
    column_pair_condition_partial,
)

from contender.data.conll import ENTITY_TAG
from contender.data.jsonlists import texts_of
from expectations.sentences import Sentence
from expectations.text import VISIBLE, matches


class ColumnValuesListsOfText(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.lists_of_text"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N805
        lists = column.map(texts_of)
        there = lists.map(lambda texts: texts is not None).astype(bool)
        joined = lists.map(lambda texts: " ".join(texts or ()))
        empty = lists.map(lambda texts: texts == []).astype(bool)
        return there & (empty | matches(joined, VISIBLE))


class ExpectColumnValuesToBeListsOfText(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect every value to be a list of text in JSON, one of its texts with a character that can be seen, or no text at all.

    - type: expect_column_values_to_be_lists_of_text
      kwargs: {column: tokens}
    """

    map_metric = "column_values.lists_of_text"
    sentence: ClassVar[str] = "$column values must be lists of text, with something to read in them."


class ColumnValuesEntityTags(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.entity_tags"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N805
        return column.map(lambda value: all(map(ENTITY_TAG.fullmatch, texts_of(value) or ()))).astype(bool)


class ExpectColumnValuesToBeEntityTags(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect every tag to be O, or a type of entity behind B-, I-, E- or S-: IO, BIO and BIOES alike.

    Tags that are no entities', such as parts of speech, need a copy of the suite without this.

        - type: expect_column_values_to_be_entity_tags
          kwargs: {column: tags}
    """

    map_metric = "column_values.entity_tags"
    sentence: ClassVar[str] = "$column values must be O, or a type behind B-, I-, E- or S-."


class ColumnPairListsOfEqualLength(ColumnPairMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_pair_values.lists_of_equal_length"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_A",
        "column_B",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    condition_value_keys = ()

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: pd.Series[Any], column_B: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N803, N805
        pairs = zip(map(texts_of, column_A), map(texts_of, column_B), strict=True)
        equal = [one is None or other is None or len(one) == len(other) for one, other in pairs]
        return pd.Series(equal, index=column_A.index, dtype=bool)


class ExpectColumnPairListsToBeOfEqualLength(Sentence, ColumnPairMapExpectation):  # type: ignore[misc]
    """Expect as many texts in the list of `column_A` as in that of `column_B`: a tag for each word.

    - type: expect_column_pair_lists_to_be_of_equal_length
      kwargs: {column_A: tokens, column_B: tags}
    """

    ignore_row_if: Literal["either_value_is_missing"] = "either_value_is_missing"
    map_metric = "column_pair_values.lists_of_equal_length"
    success_keys = ("ignore_row_if", "mostly")
    args_keys = ("column_A", "column_B")
    sentence: ClassVar[str] = "$column_A and $column_B must list as many texts as each other."
