"""Chunks and SQLite say what Great Expectations says of the whole table at once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from contender.quality.scopes import SCOPES, Scope

# Eight chunks, the last one smaller. GX visits many values one by one: ten times as many rows take seconds and show the same.
ROWS = 2_000
CHUNK = 280

TEXT: dict[str, Any] = {"column": "text"}
PAIR = {"column_A": "small", "column_B": "large"}
BOTH = ["small", "large"]

CASES: list[tuple[str, dict[str, Any]]] = [
    # one row at a time
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "large", "column_B": "small", "or_equal": True}),
    ("expect_column_pair_values_to_be_equal", PAIR),
    ("expect_column_pair_values_to_be_in_set", {**PAIR, "value_pairs_set": [[1, 1], [2, 2], [3, 0]]}),
    ("expect_column_value_lengths_to_be_between", {**TEXT, "min_value": 3, "max_value": 30}),
    ("expect_column_value_lengths_to_equal", {**TEXT, "value": 12, "mostly": 0.2}),
    ("expect_column_values_to_be_between", {"column": "score", "min_value": 0.1, "max_value": 0.9}),
    ("expect_column_values_to_be_between", {"column": "count", "min_value": 2, "mostly": 0.5}),
    ("expect_column_values_to_be_dateutil_parseable", {"column": "day"}),
    ("expect_column_values_to_be_in_set", {"column": "label", "value_set": ["a", "b"]}),
    ("expect_column_values_to_be_json_parseable", {"column": "json"}),
    ("expect_column_values_to_be_null", {"column": "count", "mostly": 0.05}),
    ("expect_column_values_to_match_json_schema", {"column": "valid", "json_schema": {"type": "object"}}),
    ("expect_column_values_to_match_regex", {**TEXT, "regex": "[0-4]$"}),
    ("expect_column_values_to_match_regex_list", {**TEXT, "regex_list": ["1$", "2$"], "match_on": "any"}),
    ("expect_column_values_to_match_strftime_format", {"column": "day", "strftime_format": "%Y-%m-%d"}),
    ("expect_column_values_to_not_be_in_set", {"column": "label", "value_set": ["c"]}),
    ("expect_column_values_to_not_be_null", {"column": "count"}),
    ("expect_column_values_to_not_be_null", {**TEXT, "mostly": 0.5}),
    ("expect_column_values_to_not_match_regex", {**TEXT, "regex": "9"}),
    ("expect_column_values_to_not_match_regex_list", {**TEXT, "regex_list": ["8", "7$"]}),
    ("expect_multicolumn_sum_to_equal", {"column_list": BOTH, "sum_total": 4}),
    ("expect_multicolumn_values_to_be_equal", {"column_list": BOTH}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": BOTH}),
    ("expect_column_values_to_be_visible", TEXT),
    ("expect_column_values_to_be_undamaged_text", TEXT),
    ("expect_column_values_to_be_known_labels", {"column": "label", "reference": {"a": 0.5, "b": 0.5}, "new": ["d"]}),
    ("expect_column_values_to_be_lists_of_text", {"column": "words"}),
    ("expect_multicolumn_values_to_be_finite", {"column_list": ["count", "score", "text"]}),
    ("expect_column_values_to_list_visible_texts", {"column": "words", "max_length": 3}),
    ("expect_column_values_to_list_known_labels", {"column": "tags", "reference": ["O", "B-PER"], "new": ["I-PER"]}),
    ("expect_column_values_to_be_entity_tags", {"column": "tags", "mostly": 0.5}),
    ("expect_column_pair_lists_to_be_of_equal_length", {"column_A": "words", "column_B": "tags"}),
    ("expect_column_values_to_be_conversations_without", {"column": "words", "fault": "no conversation"}),
    # columns, not rows
    ("expect_column_to_exist", {"column": "label"}),
    ("expect_column_to_exist", {"column": "nowhere"}),
    ("expect_column_type_to_be", {"column": "score", "type_": "float64"}),
    ("expect_table_column_count_to_be_between", {"min_value": 1, "max_value": 3}),
    ("expect_table_column_count_to_equal", {"value": 12}),
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["text", "label"]}),
    ("expect_table_columns_to_match_set", {"column_set": ["text", "label"], "exact_match": False}),
    # all rows at once
    ("expect_column_distinct_values_to_be_in_set", {"column": "label", "value_set": ["a", "b"]}),
    ("expect_column_distinct_values_to_contain_set", {"column": "label", "value_set": ["a", "z"]}),
    ("expect_column_distinct_values_to_equal_set", {"column": "label", "value_set": ["a", "b", "c", "d", "e"]}),
    (
        "expect_column_kl_divergence_to_be_less_than",
        {
            "column": "label",
            "partition_object": {"values": ["a", "b", "c", "d", "e"], "weights": [0.5, 0.2, 0.1, 0.1, 0.1]},
            "threshold": 0.05,
        },
    ),
    ("expect_column_max_to_be_between", {"column": "score", "max_value": 0.5}),
    ("expect_column_mean_to_be_between", {"column": "score", "min_value": 0.49, "max_value": 0.51}),
    ("expect_column_median_to_be_between", {"column": "score", "min_value": 0.4, "max_value": 0.6}),
    ("expect_column_min_to_be_between", {"column": "count", "min_value": 0}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "label", "value_set": ["a"]}),
    ("expect_column_proportion_of_non_null_values_to_be_between", {"column": "count", "min_value": 0.99}),
    ("expect_column_proportion_of_unique_values_to_be_between", {**TEXT, "min_value": 0.1, "max_value": 0.9}),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "score", "quantile_ranges": {"quantiles": [0.1, 0.5], "value_ranges": [[0.05, 0.15], [0.6, 0.7]]}},
    ),
    ("expect_column_stdev_to_be_between", {"column": "score", "min_value": 0.2, "max_value": 0.4}),
    ("expect_column_sum_to_be_between", {"column": "small", "min_value": 1}),
    ("expect_column_unique_value_count_to_be_between", {"column": "label", "max_value": 4}),
    ("expect_column_values_to_be_unique", TEXT),
    ("expect_compound_columns_to_be_unique", {"column_list": ["text", "label"]}),
    ("expect_table_row_count_to_be_between", {"min_value": 10}),
    ("expect_table_row_count_to_equal", {"value": 10}),
    ("expect_column_pair_duplicates_to_agree", {"column_A": "text", "column_B": "label"}),
    ("expect_column_pair_rows_to_be_distinct", {"column_A": "text", "column_B": "label"}),
    ("expect_column_every_value_to_have_rows", {"column": "label", "min_rows": 100}),
    ("expect_column_shares_to_match_reference", {"column": "label", "reference": {"a": 1.0}, "max_distance": 0.1}),
    # all rows at once, in memory alone
    ("expect_column_value_z_scores_to_be_less_than", {"column": "score", "threshold": 1.5, "double_sided": True}),
    ("expect_column_values_to_be_decreasing", {"column": "small"}),
    ("expect_column_values_to_be_in_type_list", {"column": "score", "type_list": ["float64"]}),
    ("expect_column_values_to_be_increasing", {"column": "small"}),
    ("expect_column_values_to_be_of_type", {"column": "score", "type_": "float64"}),
    ("expect_column_values_to_not_be_outliers", {"column": "score", "method": "iqr", "multiplier": 0.5}),
]


def _column(rng: random.Random, rows: int, make: Any, null: float = 0.02) -> list[Any]:
    return [None if rng.random() < null else make() for _ in range(rows)]


def _table(rows: int) -> Any:
    import pyarrow as pa

    rng = random.Random(7)
    odd = ["", " ", "\u200b", "bad \ufffd", "cafÃ© del mar", "ESC \x1b[31m", "<b>", "NÃO", "Ünïcode ✓", "x" * 400]
    text = _column(
        rng, rows, lambda: rng.choice(odd) if rng.random() < 0.04 else f"Message  {9 * rng.randrange(4_000)}"
    )
    return pa.table(
        {
            "text": text,
            "label": _column(rng, rows, lambda: "e" if rng.random() < 0.001 else rng.choice("aaabbcd")),
            "score": _column(rng, rows, rng.random),
            "count": _column(rng, rows, lambda: rng.randrange(9)),
            "small": pa.array([rng.randrange(4) for _ in range(rows)]),
            "large": pa.array([rng.randrange(5) for _ in range(rows)]),
            "day": _column(rng, rows, lambda: "no day" if rng.random() < 0.04 else f"2026-0{rng.randrange(1, 9)}-11"),
            "json": _column(rng, rows, lambda: "{" if rng.random() < 0.04 else rng.choice(["{}", "[1]", '{"a": 1}'])),
            "valid": _column(rng, rows, lambda: rng.choice(["{}", "[1]", '{"a": 1}'])),
            "words": _column(rng, rows, lambda: rng.choice(['["a"]', '["a", "b"]', "[]", "a", '[" "]', "[1]"])),
            "tags": _column(rng, rows, lambda: rng.choice(['["O"]', '["B-x", "I-x"]', "[]", '["NOUN"]'])),
            "flag": _column(rng, rows, lambda: rng.random() < 0.5),
        }
    )


@dataclass(frozen=True)
class Compared:
    """By the number of the case: GX's own results on the whole table, and ours, with the rows that we marked as bad."""

    whole: dict[int, Any]
    ours: dict[int, Any]
    bad: dict[int, list[int]]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    import great_expectations as gx
    import pyarrow as pa
    from great_expectations.validator.v1_validator import Validator

    from contender.quality.engine import build_suite
    from contender.quality.plan import make_plan
    from contender.quality.rows import open_row_file
    from contender.quality.running import Limits, run

    folder = tmp_path_factory.mktemp("rows")
    table = _table(ROWS)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS // 15)
    file = open_row_file(folder / "rows.arrow", {"text": "text", "label": "label"})
    suite = {"name": "all", "expectations": [{"type": name, "kwargs": kwargs} for name, kwargs in CASES]}
    plan = make_plan(suite, {}, file.names)
    ran = run(plan, file, folder, Limits(CHUNK, ROWS))

    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("whole").add_dataframe_asset("whole").add_batch_definition_whole_dataframe("w")
    )
    complete = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    frame = file.frame(table, list(file.names), 0)
    result = Validator(batch, complete, {"dataframe": frame}).validate_expectation_suite(
        build_suite("whole", plan.planned)
    )
    return Compared(
        whole={int(entry.expectation_config.id): entry for entry in result.results},
        ours=dict(ran.results),
        bad={item.number: np.flatnonzero(mask).tolist() for item, mask in ran.failed.items()},
    )


def test_every_expectation_that_can_run_has_a_case() -> None:
    runnable = {name for name, scope in SCOPES.items() if scope is not Scope.REFUSED}
    assert {name for name, _ in CASES} == runnable


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{number}-{name}" for number, (name, _) in enumerate(CASES)]
)
def test_the_merged_result_equals_the_whole_tables(number: int, compared: Compared) -> None:
    from contender.quality.engine import exception_of

    expected, got = compared.whole[number], compared.ours[number]
    assert exception_of(expected) is None
    assert exception_of(got) is None
    assert bool(got.success) == bool(expected.success)
    for name in ("element_count", "unexpected_count", "missing_count"):
        assert got.result.get(name) == expected.result.get(name), name
    for name in ("unexpected_percent", "unexpected_percent_total", "missing_percent"):
        assert got.result.get(name) == pytest.approx(expected.result.get(name)), name
    bad = expected.result.get("unexpected_index_list")
    if bad is not None and not expected.success:
        assert compared.bad.get(number, []) == sorted(bad)
