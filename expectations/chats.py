"""A row expectation about conversations: which fault none of them has, by contender.data.chats. Each is looked at once for all faults."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
    column_function_partial,
)
from great_expectations.validator.metric_configuration import MetricConfiguration

from contender.data.chats import Fault, fault_of
from expectations.sentences import Sentence

LOOKED_AT = "column_values.conversation_fault"
WITHOUT = "column_values.conversations_without"


class ColumnValuesConversationsWithout(ColumnMapMetricProvider):  # type: ignore[misc]
    function_metric_name = LOOKED_AT
    condition_metric_name = WITHOUT
    condition_value_keys = ("fault",)

    @column_function_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _look(cls, column: pd.Series[Any], **_: Any) -> pd.Series[Any]:  # noqa: N805
        return column.map(fault_of)

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column: pd.Series[Any], fault: str, _metrics: Any, **_: Any) -> pd.Series[Any]:  # noqa: N805
        faults: pd.Series[Any] = _metrics[f"{LOOKED_AT}.map"][0]
        return faults != fault

    @classmethod
    def _get_evaluation_dependencies(cls, metric: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        dependencies: dict[str, Any] = super()._get_evaluation_dependencies(metric, *args, **kwargs)
        if metric.metric_name == f"{WITHOUT}.condition":
            name = f"{LOOKED_AT}.map"
            dependencies[name] = MetricConfiguration(metric_name=name, metric_domain_kwargs=metric.metric_domain_kwargs)
        return dependencies


class ExpectColumnValuesToBeConversationsWithout(Sentence, ColumnMapExpectation):  # type: ignore[misc]
    """Expect no conversation to have one `fault`; each has the first that is found, so that a row fails for one reason.

    - type: expect_column_values_to_be_conversations_without
      kwargs: {column: messages, fault: no answer}
    """

    fault: Fault
    map_metric = WITHOUT
    success_keys = ("fault", "mostly")
    args_keys = ("column", "fault")
    sentence: ClassVar[str] = "$column values must be conversations without this fault: $fault."
