"""How each expectation is run: by its name, known without importing Great Expectations.

ROW      one answer per row, from that row alone: run per chunk, the chunks' answers added up
SCHEMA   about the columns, not the rows: run once on a table without rows
TABLE    needs all rows at once: run once in SQLite, in a temporary file (in pandas where one chunk holds everything)
MEMORY   needs all rows at once and GX has no SQL for it: in memory, only up to `quality.in_memory_rows` rows
REFUSED  reads something other than the rows of the snapshot

A plan moves what its kwargs or the types of its columns keep from ROW and TABLE to MEMORY: see `plan.scope_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

# What a run knows, for `$PARAMETER` in a suite.
PARAMETERS = ("reference_label_shares", "reference_labels", "other_columns")
_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")


class Scope(Enum):
    ROW = "row"
    SCHEMA = "schema"
    TABLE = "table"
    MEMORY = "memory"
    REFUSED = "refused"


_ROW = """
expect_column_pair_values_a_to_be_greater_than_b expect_column_pair_values_to_be_equal
expect_column_pair_values_to_be_in_set expect_column_value_lengths_to_be_between expect_column_value_lengths_to_equal
expect_column_values_to_be_between expect_column_values_to_be_dateutil_parseable expect_column_values_to_be_in_set
expect_column_values_to_be_json_parseable expect_column_values_to_be_null expect_column_values_to_match_json_schema
expect_column_values_to_match_regex expect_column_values_to_match_regex_list
expect_column_values_to_match_strftime_format expect_column_values_to_not_be_in_set
expect_column_values_to_not_be_null expect_column_values_to_not_match_regex
expect_column_values_to_not_match_regex_list expect_multicolumn_sum_to_equal expect_multicolumn_values_to_be_equal
expect_select_column_values_to_be_unique_within_record
"""

_SCHEMA = """
expect_column_to_exist expect_column_type_to_be expect_table_column_count_to_be_between
expect_table_column_count_to_equal expect_table_columns_to_match_ordered_list expect_table_columns_to_match_set
"""

_TABLE = """
expect_column_distinct_values_to_be_in_set expect_column_distinct_values_to_contain_set
expect_column_distinct_values_to_equal_set expect_column_kl_divergence_to_be_less_than
expect_column_max_to_be_between expect_column_mean_to_be_between expect_column_median_to_be_between
expect_column_min_to_be_between expect_column_most_common_value_to_be_in_set
expect_column_proportion_of_non_null_values_to_be_between expect_column_proportion_of_unique_values_to_be_between
expect_column_quantile_values_to_be_between expect_column_stdev_to_be_between expect_column_sum_to_be_between
expect_column_unique_value_count_to_be_between expect_column_values_to_be_unique expect_compound_columns_to_be_unique
expect_table_row_count_to_be_between expect_table_row_count_to_equal
"""

_MEMORY = """
expect_column_value_z_scores_to_be_less_than expect_column_values_to_be_decreasing
expect_column_values_to_be_in_type_list expect_column_values_to_be_increasing expect_column_values_to_be_of_type
expect_column_values_to_not_be_outliers
"""

# The `like` patterns are SQL alone, without a pandas side; a regex says the same.
_REFUSED = """
expect_column_values_to_match_like_pattern expect_column_values_to_match_like_pattern_list
expect_column_values_to_not_match_like_pattern expect_column_values_to_not_match_like_pattern_list
expect_query_results_to_match_comparison expect_table_row_count_to_equal_other_table unexpected_rows_expectation
"""

# Those of `expectations/`.
_CUSTOM_ROW = """
expect_column_values_to_be_visible expect_column_values_to_be_undamaged_text expect_column_values_to_be_known_labels
expect_column_values_to_be_lists_of_text expect_column_values_to_be_entity_tags
expect_column_pair_lists_to_be_of_equal_length expect_column_values_to_be_conversations_without
expect_column_values_to_list_visible_texts expect_column_values_to_list_known_labels
expect_multicolumn_values_to_be_finite
"""
_CUSTOM_TABLE = """
expect_column_pair_duplicates_to_agree expect_column_pair_rows_to_be_distinct expect_column_every_value_to_have_rows
expect_column_shares_to_match_reference
"""

SCOPES: dict[str, Scope] = {
    name: scope
    for names, scope in (
        (_ROW + _CUSTOM_ROW, Scope.ROW),
        (_SCHEMA, Scope.SCHEMA),
        (_TABLE + _CUSTOM_TABLE, Scope.TABLE),
        (_MEMORY, Scope.MEMORY),
        (_REFUSED, Scope.REFUSED),
    )
    for name in names.split()
}


def columns_of(kwargs: Mapping[str, Any]) -> list[str]:
    """The columns that an expectation looks at, its row condition's left out."""
    names: list[str] = []
    for key in _COLUMN_KEYS:
        value = kwargs.get(key)
        names += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return names
