"""Expectations about labels: which there are, how many rows each has, and how their shares moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation, ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from expectations.sentences import Sentence


class ColumnValuesKnownLabels(ColumnMapMetricProvider):  # type: ignore[misc]
    condition_metric_name = "column_values.known_labels"
    condition_value_keys = ("reference", "new")

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        column: pd.Series[Any],
        reference: Mapping[str, float] | list[str],
        new: list[str] | None = None,
        **_: Any,
    ) -> pd.Series[Any]:
        return column.isin([*reference, *(new or ())])


class ExpectColumnValuesToBeKnownLabels(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect every label to be one of the reference's, or one that is let in by name.

    `reference` is a list of labels or a mapping from label to share; `{$PARAMETER: reference_label_shares}` takes those of the
    data that the champion was trained on. `new` lists the classes that may appear now.

        - type: expect_column_values_to_be_known_labels
          kwargs: {column: label, reference: {$PARAMETER: reference_label_shares}, new: [refund]}
    """

    reference: dict[str, float] | list[str]
    new: list[str] = []
    map_metric = "column_values.known_labels"
    success_keys = ("reference", "new", "mostly")
    args_keys = ("column", "reference", "new")
    sentence: ClassVar[str] = "$column values must be labels that the champion was trained on: $reference."


class ExpectColumnEveryValueToHaveRows(Sentence, ColumnAggregateExpectation):  # type: ignore[misc]
    """Expect every distinct value to occur in at least `min_rows` rows: a class with one row cannot be learnt and tested.

    - type: expect_column_every_value_to_have_rows
      kwargs: {column: label, min_rows: 5}
      severity: warning
    """

    min_rows: int = 2
    metric_dependencies = ("column.value_counts",)
    success_keys = ("min_rows",)
    args_keys = ("column", "min_rows")
    sentence: ClassVar[str] = "$column: every value must have at least $min_rows rows."

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> Any:
        counts = metrics["column.value_counts"]
        few = counts[counts < self.min_rows].sort_values(kind="stable")
        listed = {str(value): int(count) for value, count in few.head(20).items()}
        observed = {"values": len(counts), "with_few_rows": len(few), "fewest": listed}
        return {"success": few.empty, "result": {"observed_value": observed}}


class ExpectColumnSharesToMatchReference(Sentence, ColumnAggregateExpectation):  # type: ignore[misc]
    """Expect the shares of the values to be near those of a reference, whatever the number of rows.

    The distance is the total variation, half the sum of the absolute differences of the shares: the share of rows that would have
    to change their value. A sample of n rows differs from its own source by Σ √(p(1−p)/(2πn)) on average; that much is
    allowed on top of `max_distance`, so a small drop of data does not count as drift for being small.

        - type: expect_column_shares_to_match_reference
          kwargs: {column: label, reference: {$PARAMETER: reference_label_shares}, max_distance: 0.2}
          severity: warning
    """

    reference: dict[str, float]
    max_distance: float = 0.2
    metric_dependencies = ("column.value_counts",)
    success_keys = ("reference", "max_distance")
    args_keys = ("column", "reference", "max_distance")
    sentence: ClassVar[str] = "$column: shares must stay within $max_distance of the reference in total variation."

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> Any:
        counts = {str(value): int(count) for value, count in metrics["column.value_counts"].items()}
        distance, chance = share_distance(counts, self.reference)
        moved = _largest_moves(counts, self.reference)
        observed = {"distance": round(distance, 4), "by_chance": round(chance, 4), "largest_moves": moved}
        return {"success": distance <= self.max_distance + chance, "result": {"observed_value": observed}}


def share_distance(counts: Mapping[str, int], reference: Mapping[str, float]) -> tuple[float, float]:
    """Total variation between the shares of `counts` and `reference`, and what chance alone explains of it on average."""
    rows = sum(counts.values())
    if not rows:
        return 0.0, 0.0
    names = sorted({*counts, *reference})
    distance = sum(abs(counts.get(name, 0) / rows - reference.get(name, 0.0)) for name in names) / 2
    chance = sum(math.sqrt(share * (1 - share) / (2 * math.pi * rows)) for share in reference.values() if 0 < share < 1)
    return distance, chance


def _largest_moves(counts: Mapping[str, int], reference: Mapping[str, float]) -> dict[str, str]:
    rows = sum(counts.values()) or 1
    moves = {name: counts.get(name, 0) / rows - reference.get(name, 0.0) for name in {*counts, *reference}}
    largest = sorted(moves, key=lambda name: (-abs(moves[name]), name))[:5]
    return {
        name: f"{reference.get(name, 0.0):.1%} → {counts.get(name, 0) / rows:.1%}" for name in largest if moves[name]
    }
