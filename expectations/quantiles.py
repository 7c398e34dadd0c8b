"""Quantiles in SQLite as pandas has them: the value at the place nearest to the quantile's.

Great Expectations' own query (1.24.1) takes the first value whose share reaches the quantile, a place off as often as not, so an
expectation could pass on 50,000 rows and fail on the same rows and one more. This one is found first for SQLite's engine.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine.sqlite_execution_engine import SqliteExecutionEngine
from great_expectations.expectations.metrics.column_aggregate_metric_provider import ColumnAggregateMetricProvider
from great_expectations.expectations.metrics.metric_provider import metric_value


class ColumnQuantilesInSqlite(ColumnAggregateMetricProvider):  # type: ignore[misc]
    metric_name = "column.quantile_values"
    value_keys = ("quantiles", "allow_relative_error")

    @metric_value(engine=SqliteExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlite(
        cls,  # noqa: N805
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> list[Any]:
        rows, _, accessor = execution_engine.get_compute_domain(metric_domain_kwargs, MetricDomainTypes.COLUMN)
        column: Any = sa.column(accessor["column"])
        values = sa.select(column).select_from(rows).where(column.is_not(None))
        count = execution_engine.execute_query(sa.select(sa.func.count()).select_from(values.subquery())).scalar()
        places = [nearest_place(count, quantile) for quantile in metric_value_kwargs["quantiles"]]
        return [
            execution_engine.execute_query(values.order_by(column).offset(place).limit(1)).scalar() for place in places
        ]


def nearest_place(count: int, quantile: float) -> int:
    """The index, in order, of the value that numpy's method "nearest" takes; halves go to the even one."""
    return round((count - 1) * float(quantile))
