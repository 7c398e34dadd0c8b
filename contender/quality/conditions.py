"""Row conditions of expectations, in either of Great Expectations' syntaxes, as a query of a pandas frame.

Chunk by chunk, pandas says which rows meet one, so it means the same whether GX then counts in pandas or in SQLite.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.row_conditions import PassThroughCondition

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_TEXT_OR_TIME = re.compile(r"\.(?:str|dt)\.(?!cat\b)\w+")
_LISTED = re.compile(r"\bin\s*\[|\.isin\s*\(\s*\[")
_OTHER_ROWS = re.compile(r"\bin\b")  # `a in b` asks whether a stands anywhere in b
_ATTRIBUTE = re.compile(r"\.([A-Za-z_]\w*)")
_ONE_ROW = {"isnull", "isna", "notnull", "notna", "between", "abs", "round"}


def query_of(kwargs: Mapping[str, Any]) -> str:
    """The row condition as `DataFrame.query` takes it; empty where there is none. Raises what GX refuses it with."""
    given = {name: kwargs[name] for name in ("row_condition", "condition_parser") if kwargs.get(name) is not None}
    if "row_condition" not in given:
        return ""
    # Any expectation that takes a condition parses it.
    any_one = ExpectationConfiguration(type="expect_table_row_count_to_equal", kwargs={"value": 0, **given})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GX would rather be given its own objects
        condition: Any = any_one.to_domain_obj().row_condition
    if isinstance(condition, PassThroughCondition):
        return str(condition.pass_through_filter)
    return str(PandasExecutionEngine().condition_to_filter_clause(condition))


def of_one_row(query: str) -> bool:
    """Whether each row decides for itself; `n > n.mean()` does not, nor does what cannot be told from such a thing."""
    bare = _LISTED.sub("", _TEXT_OR_TIME.sub("", _QUOTED.sub("", query)))
    return set(_ATTRIBUTE.findall(bare)) <= _ONE_ROW and not _OTHER_ROWS.search(bare)
