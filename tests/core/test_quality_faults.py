"""What a gate refuses because the suite is wrong, and what it reports because the data are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contender.errors import UsageError

Rows = list[dict[str, Any]]


def good() -> Rows:
    return [{"text": f"text {place}", "label": "ab"[place % 2], "n": place} for place in range(30)]


def suite_of(*expectations: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"name": "mine", "expectations": list(expectations), **rest}


def usage(run: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        run()
    return caught.value.what


def test_a_column_that_is_not_there_is_named_with_the_nearest(gate: Any) -> None:
    suite = suite_of({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "txet"}})
    said = usage(lambda: gate(good(), suite))
    assert "unknown column 'txet' (did you mean 'text'?)" in said


def test_an_unknown_parameter_is_named(gate: Any) -> None:
    suite = suite_of(
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "label", "value_set": {"$PARAMETER": "labels"}},
        }
    )
    assert "unknown $PARAMETER 'labels'" in usage(lambda: gate(good(), suite))


@pytest.mark.parametrize(
    "kwargs", [{"column": "text", "colour": "red"}, {"column": "text", "mostly": 7}, {"column": 3}, {}], ids=repr
)
def test_kwargs_that_great_expectations_refuses_are_told_by_expectation(gate: Any, kwargs: dict[str, Any]) -> None:
    suite = suite_of({"type": "expect_column_values_to_not_be_null", "kwargs": kwargs})
    assert "expectation 1 of the suite, expect_column_values_to_not_be_null" in usage(lambda: gate(good(), suite))


def test_an_expectation_that_needs_all_rows_in_memory_is_refused_by_name_above_the_limit_and_runs_below(
    gate: Any,
) -> None:
    suite = suite_of({"type": "expect_column_values_to_be_increasing", "kwargs": {"column": "n"}})
    rows = [{"text": "t", "label": "l", "n": n} for n in [*range(30), 3]]
    said = usage(lambda: gate(rows, suite, in_memory_rows=30, chunk_rows=10))
    assert said.startswith("expect_column_values_to_be_increasing(n) would need all 31 rows in memory")
    assert gate(rows, suite, in_memory_rows=31, chunk_rows=10).quarantined == 1


def test_an_expectation_that_cannot_be_evaluated_is_not_a_pass(gate: Any) -> None:
    suite = suite_of(
        {"type": "expect_column_values_to_match_json_schema", "kwargs": {"column": "text", "json_schema": {}}}
    )
    report = gate([{"text": "{", "label": "a"}], suite)
    assert not report.passed
    assert "could not be evaluated" in report.message
    assert "could not be evaluated" in report.results[0].observed


# --- expectations that cannot be evaluated ----------------------------------------------------------------------------

BROKEN: list[dict[str, Any]] = [
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "text", "regex": "("}},
    {"type": "expect_column_values_to_match_regex_list", "kwargs": {"column": "text", "regex_list": ["a", "("]}},
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text", "mostly": {"a": "b"}}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text", "mostly": {"a": "b"}}},
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text", "row_condition": "nope == 3"}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text", "row_condition": "nope == 3"}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text", "row_condition": "n >"}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text", "row_condition": ""}},
    {"type": "expect_column_values_to_match_json_schema", "kwargs": {"column": "text", "json_schema": {"type": 7}}},
    {"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": {"column": "label", "partition_object": {}}},
    {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "text", "min_value": 1}},
]


@pytest.mark.parametrize("chunk_rows", [50_000, 7], ids=["at once", "in chunks"])
@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken['type']} {broken['kwargs']}")
def test_an_expectation_that_no_data_could_pass_is_the_suites_fault(
    gate: Any, broken: dict[str, Any], severity: str, chunk_rows: int
) -> None:
    sound = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}
    suite = suite_of(sound, {**broken, "severity": severity})
    said = usage(lambda: gate(good(), suite, chunk_rows=chunk_rows))
    assert said.startswith(f"expectation 2 of the suite, {broken['type']}(")
    assert "cannot be evaluated: " in said and "text 1" not in said


def test_every_expectation_that_is_at_fault_is_named_at_once(gate: Any) -> None:
    said = usage(lambda: gate(good(), suite_of(*BROKEN)))
    assert all(f"expectation {number} of the suite" in said for number in range(1, len(BROKEN) + 1))


def test_a_row_condition_that_is_none_is_told_before_a_row_is_read(gate: Any) -> None:
    kwargs = {"column": "text", "row_condition": 'col("n")>>3', "condition_parser": "great_expectations"}
    suite = suite_of({"type": "expect_column_values_to_not_be_null", "kwargs": kwargs})
    assert "row_condition: unable to parse condition" in usage(lambda: gate(good(), suite))


# A text that is no JSON, a column that has become text, a condition on one: the suite did not change.
SPOILT: list[tuple[dict[str, Any], object]] = [
    ({"type": "expect_column_values_to_match_json_schema", "kwargs": {"column": "text", "json_schema": {}}}, 1),
    ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "n", "min_value": 1}}, "many"),
    ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "text", "row_condition": "n > 3"}}, "many"),
    ({"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "n", "min_value": 1}}, [1]),
]


@pytest.mark.parametrize("chunk_rows", [50_000, 7], ids=["at once", "in chunks"])
@pytest.mark.parametrize(("expectation", "cell"), SPOILT, ids=str)
def test_what_the_data_make_impossible_is_a_failure_of_the_data(
    gate: Any, expectation: dict[str, Any], cell: object, chunk_rows: int
) -> None:
    rows = [{**row, "n": cell} for row in good()]
    report = gate(rows, suite_of(expectation), chunk_rows=chunk_rows)
    assert not report.passed
    assert f"{expectation['type']}(" in report.message
    assert "could not be evaluated" in report.message
    assert "could not be evaluated" in report.results[0].observed


def test_a_warning_that_could_not_be_evaluated_says_so(gate: Any) -> None:
    expectation = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "n", "min_value": 1}}
    report = gate([{**row, "n": "many"} for row in good()], suite_of({**expectation, "severity": "warning"}))
    assert report.passed
    assert "warnings: n: column mean to be between (could not be evaluated: " in report.message


# --- a suite's own parameters -----------------------------------------------------------------------------------------


def test_a_suites_own_parameters_fill_its_kwargs(gate: Any) -> None:
    kwargs = {"column": {"$PARAMETER": "where"}, "value_set": {"$PARAMETER": "labels"}}
    suite = suite_of({"type": "expect_column_values_to_be_in_set", "kwargs": kwargs})
    report = gate(good(), {**suite, "suite_parameters": {"labels": ["a"], "where": "label"}}, max_bad_fraction=0.5)
    assert report.quarantined == 15
    assert report.results[0].column == "label"
    assert report.results[0].kwargs["value_set"] == ["a"]


def test_a_suites_own_parameters_stand_beside_the_champions(gate: Any) -> None:
    known = {"column": "label", "reference": {"$PARAMETER": "reference_labels"}, "new": {"$PARAMETER": "new"}}
    suite = suite_of(
        {"type": "expect_column_values_to_be_known_labels", "kwargs": known}, suite_parameters={"new": ["b"]}
    )
    assert gate(good(), suite, reference_label_shares={"a": 1.0}).quarantined == 0
    assert not gate(good(), suite).results[0].applicable


def test_a_column_that_a_parameter_names_must_be_there(gate: Any) -> None:
    kwargs = {"column": {"$PARAMETER": "where"}}
    suite = suite_of(
        {"type": "expect_column_values_to_not_be_null", "kwargs": kwargs}, suite_parameters={"where": "lable"}
    )
    assert "unknown column 'lable' (did you mean 'label'?)" in usage(lambda: gate(good(), suite))


def test_an_unknown_parameter_is_told_with_the_suites_own(gate: Any) -> None:
    kwargs = {"column": "label", "value_set": {"$PARAMETER": "lables"}}
    suite = suite_of(
        {"type": "expect_column_values_to_be_in_set", "kwargs": kwargs}, suite_parameters={"labels": ["a"]}
    )
    assert "unknown $PARAMETER 'lables' (did you mean 'labels'?)" in usage(lambda: gate(good(), suite))
