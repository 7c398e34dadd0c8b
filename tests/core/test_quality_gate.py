"""The gate: what passes, what is quarantined, what stops a run, and how it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contender.errors import UsageError
from contender.names import TASKS
from contender.quality.report import _rows_stop
from contender.quality.suites import load_suite, shipped_suites

SAMPLES = Path(__file__).parent / "quality_samples"
Rows = list[dict[str, Any]]


def sample(suite: str, name: str) -> Rows:
    lines = (SAMPLES / suite.rpartition(".")[0] / f"{name}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if repeat := row.pop("repeat", None):
            row[next(iter(row))] *= repeat
    return rows


def good() -> Rows:
    return sample("text_classification.yaml", "good")


def suite_of(*expectations: dict[str, Any]) -> dict[str, Any]:
    return {"name": "mine", "expectations": list(expectations)}


def shares(rows: Rows) -> dict[str, float]:
    labels = [row["label"] for row in rows if "label" in row]
    labels += [label for row in rows if "labels" in row for label in json.loads(row["labels"])]
    return {label: labels.count(label) / len(labels) for label in set(labels)}


def roles(rows: Rows) -> dict[str, str]:
    known = {role for task in TASKS.values() for role in task.roles}
    return {name: name for name in rows[0] if name in known}


def failed_in(report: Any) -> set[str]:
    return {f"{r.expectation}({r.column})" if r.column else r.expectation for r in report.results if not r.success}


# --- shipped suites ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_suites())
def test_a_shipped_suite_passes_its_good_sample(name: str, gate: Any) -> None:
    rows = sample(name, "good")
    report = gate(rows, load_suite(name, Path()), reference_label_shares=shares(rows), columns=roles(rows))
    assert len(rows) > 20
    assert failed_in(report) == set()
    assert report.passed
    assert report.message == f"{len(rows)} of {len(rows)} rows passed"
    assert gate.quarantine == []
    assert gate.admitted == list(range(len(rows)))


@pytest.mark.parametrize("chunk_rows", [50_000, 7], ids=["at once", "in chunks"])
@pytest.mark.parametrize("name", shipped_suites())
def test_a_shipped_suite_fails_each_bad_row_for_the_reason_that_the_row_names(
    name: str, gate: Any, chunk_rows: int
) -> None:
    fine, bad = sample(name, "good"), sample(name, "bad")
    fails = [row.pop("fails") for row in bad]
    options = {"reference_label_shares": shares(fine), "columns": roles(fine), "chunk_rows": chunk_rows}
    report = gate(fine + bad, load_suite(name, Path()), **options)
    critical = {f"{r.expectation}({r.column})" for r in report.results if r.severity == "critical"}
    expected = {
        len(fine) + place: wanted
        for place, names in enumerate(fails)
        if (wanted := {name for name in names if name in critical})
    }
    found = {int(row["_row"]) - 1: set(row["failed"].split("; ")) for row in gate.quarantine}
    assert found == expected
    assert {name for names in fails for name in names} <= failed_in(report)
    assert not report.passed
    assert report.quarantined == len(expected) > 10
    assert gate.admitted == [index for index in range(len(fine) + len(bad)) if index not in expected]


# --- the verdict and its sentence -------------------------------------------------------------------------------------


def test_few_bad_rows_are_quarantined_and_the_rest_passes(gate: Any) -> None:
    report = gate([*good() * 2, {"text": None, "label": "refund"}], max_bad_fraction=0.05)
    assert report.passed
    assert report.quarantined_by_reason == {"null text": 1}
    assert report.message == "110 of 111 rows passed, 1 (0.9%) quarantined: 1 null text; warnings: repeated row"
    assert gate.admitted == list(range(110))


def test_too_many_bad_rows_stop_the_run_with_counts_and_reasons_in_one_sentence(gate: Any) -> None:
    bad = [{"text": None, "label": "refund"}] * 3 + [{"text": f"n{i}", "label": None} for i in range(4)]
    report = gate(good() + bad)
    assert not report.passed
    assert report.message == (
        "7 of 62 rows (11.3%) failed a row expectation, above max_bad_fraction 2.0%: 4 null label, 3 null text"
    )


def test_one_bad_row_stops_the_run_where_bad_rows_is_stop(gate: Any) -> None:
    report = gate([*good(), {"text": " ", "label": "refund"}], bad_rows="stop", max_bad_fraction=0.5)
    assert not report.passed
    assert report.message == "1 of 56 rows (1.8%) failed a row expectation and bad_rows is stop: 1 blank text"


@pytest.mark.parametrize(("allowed", "passed"), [(0.1, True), (0.09, False), (0.0, False)])
def test_the_fraction_itself_is_allowed_and_more_is_not(gate: Any, allowed: float, passed: bool) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(18)] + [{"text": None, "label": "a"}] * 2
    assert gate(rows, max_bad_fraction=allowed).passed is passed


@pytest.mark.parametrize("rows", [100, 1000, 700])
def test_a_fraction_is_the_number_that_was_written_whatever_its_binary_form(rows: int) -> None:
    for bad in range(rows):
        allowed = float(str(bad / rows))
        assert not _rows_stop(rows, bad, "", "quarantine", allowed)
        assert _rows_stop(rows, bad + 1, "", "quarantine", allowed)


@pytest.mark.parametrize("bad", [29, 58])
def test_29_of_100_rows_are_not_above_29_percent(gate: Any, bad: int) -> None:
    rows = [{"text": None if i < bad else f"text {i}", "label": "ab"[i % 2]} for i in range(100)]
    assert gate(rows, max_bad_fraction=float(f"0.{bad}")).passed


def test_no_rows_are_not_a_pass(gate: Any) -> None:
    report = gate([])
    assert not report.passed
    assert "there are no rows" in report.message
    assert gate.admitted == []


def test_nothing_left_after_quarantine_is_not_a_pass_whatever_is_allowed(gate: Any) -> None:
    report = gate([{"text": None, "label": "ab"[i % 2]} for i in range(12)], max_bad_fraction=1.0)
    assert not report.passed
    assert report.message.startswith("no row is left: all 12 failed a row expectation: 12 null text")


def test_one_class_stops_the_run(gate: Any) -> None:
    report = gate([{"text": f"text {i}", "label": "only"} for i in range(20)])
    assert not report.passed
    assert report.quarantined == 0
    assert "number of labels" in report.message
    assert "Observed: 1" in report.message


def test_too_few_rows_stop_the_run(gate: Any) -> None:
    report = gate([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    assert not report.passed
    assert "too few rows" in report.message


def test_a_class_with_one_row_is_a_warning(gate: Any) -> None:
    report = gate([*good(), {"text": "alone", "label": "rare"}])
    assert report.passed
    assert "warnings: labels with few rows" in report.message
    (result,) = [r for r in report.results if r.expectation == "expect_column_every_value_to_have_rows"]
    assert not result.success
    assert "rare" in result.observed


def test_numbers_as_labels_are_labels(gate: Any) -> None:
    report = gate([{"text": f"text {i}", "label": i % 3} for i in range(30)])
    assert report.passed
    assert report.label_shares == pytest.approx({"0": 1 / 3, "1": 1 / 3, "2": 1 / 3})


def test_a_failing_warning_never_takes_a_row(gate: Any) -> None:
    suite = suite_of(
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}, "severity": "warning"}
    )
    report = gate([{"text": None, "label": "a"}, {"text": "b", "label": "b"}], suite)
    assert report.passed
    assert report.quarantined == 0
    assert failed_in(report) == {"expect_column_values_to_not_be_null(text)"}


def test_rows_within_an_expectations_own_mostly_stay(gate: Any) -> None:
    rows = [{"text": f"text {i}", "label": "a"} for i in range(9)] + [{"text": None, "label": "a"}]
    within = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text", "mostly": 0.9}}
    beyond = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text", "mostly": 0.95}}
    assert gate(rows, suite_of(within)).quarantined == 0
    assert gate(rows, suite_of(beyond), max_bad_fraction=0.5).quarantined == 1


def test_the_counts_are_the_same_whatever_the_chunks(gate: Any) -> None:
    rows = good() + sample("text_classification.yaml", "bad")
    for row in rows:
        row.pop("fails", None)
    reports = [
        gate(rows, chunk_rows=size, batch=batch, reference_label_shares=shares(good()))
        for size, batch in [(9999, 50), (30, 3), (13, 7)]
    ]
    kept = {(r.message, r.quarantined, tuple(sorted(r.quarantined_by_reason.items()))) for r in reports}
    assert len(kept) == 1
    assert {tuple((e.success, e.checked, e.unexpected) for e in r.results) for r in reports} == {
        tuple((e.success, e.checked, e.unexpected) for e in reports[0].results)
    }


def test_label_shares_are_those_of_the_admitted_rows(gate: Any) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)] + [{"text": None, "label": "b"}] * 10
    assert gate(rows, max_bad_fraction=0.5).label_shares == {"a": 0.5, "b": 0.5}


def test_progress_is_told_in_rows(gate: Any) -> None:
    seen: list[int] = []
    gate(good(), chunk_rows=20, on_rows=seen.append)
    assert seen == [20, 40, 55]


@pytest.mark.parametrize("chunk_rows", [50_000, 7], ids=["at once", "in chunks"])
def test_blank_texts_are_blank_and_not_the_same_text_with_different_labels(gate: Any, chunk_rows: int) -> None:
    blank = [{"text": text, "label": label} for text in ("", "  ", "\u3000\n") for label in ("refund", "delivery")]
    report = gate(good() + blank, max_bad_fraction=0.5, chunk_rows=chunk_rows)
    assert report.quarantined_by_reason == {"blank text": 6}
    assert {row["reasons"] for row in gate.quarantine} == {"blank text"}
    assert "repeated row" not in report.message


# --- the champion's labels --------------------------------------------------------------------------------------------


def test_without_a_champion_the_comparisons_are_not_applicable_and_say_so(gate: Any) -> None:
    report = gate(good())
    skipped = [r for r in report.results if not r.applicable]
    assert {r.expectation for r in skipped} == {
        "expect_column_values_to_be_known_labels",
        "expect_column_distinct_values_to_contain_set",
        "expect_column_shares_to_match_reference",
    }
    assert all("not applicable" in r.observed for r in skipped)
    assert "not applicable" in (gate.out / "data_docs" / "index.html").read_text("utf-8")


def test_a_label_that_the_champion_never_saw_is_quarantined_unless_the_suite_lets_it_in(gate: Any) -> None:
    rows = [*good(), {"text": "something else", "label": "complaint"}]
    known = {
        "type": "expect_column_values_to_be_known_labels",
        "kwargs": {"column": "label", "reference": {"$PARAMETER": "reference_labels"}},
    }
    let_in = {"type": known["type"], "kwargs": {**known["kwargs"], "new": ["complaint"]}}
    assert gate(rows, suite_of(known), reference_label_shares=shares(good())).quarantined == 1
    assert gate(rows, suite_of(let_in), reference_label_shares=shares(good())).quarantined == 0


def test_moved_label_shares_and_labels_that_are_gone_are_warnings(gate: Any) -> None:
    report = gate(good(), reference_label_shares={"refund": 0.05, "delivery": 0.05, "account": 0.8, "gone": 0.1})
    assert report.passed
    assert report.message.endswith("warnings: labels that are gone, label shares moved")


# --- columns and files ---------------------------------------------------------------------------------------------------


def test_role_columns_stand_under_their_roles_and_others_under_their_names(gate: Any) -> None:
    rows = [{"body": f"text {i}", "intent": "ab"[i % 2], "channel": "mail", "text": None} for i in range(20)]
    suite = suite_of(
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "channel", "value_set": ["mail"]}},
        {"type": "expect_table_columns_to_match_set", "kwargs": {"column_set": ["text", "label", "channel"]}},
    )
    assert gate(rows, suite, columns={"text": "body", "label": "intent"}).passed
    body = suite_of({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "body"}})
    with pytest.raises(UsageError, match="unknown column 'body'"):
        gate(rows, body, columns={"text": "body", "label": "intent"})


def test_a_gate_can_run_again_into_the_same_folder(gate: Any) -> None:
    gate([*good(), {"text": None, "label": "a"}])
    assert gate(good()).passed
    assert gate.quarantine == []


def test_nothing_but_the_promised_files_is_left(gate: Any) -> None:
    gate(good(), chunk_rows=10)
    assert sorted(path.name for path in gate.out.iterdir()) == ["admitted.npy", "data_docs", "quarantine.csv"]


def test_great_expectations_is_imported_with_its_analytics_off() -> None:
    code = "import os, sys, contender.quality.gate; print(os.environ['GX_ANALYTICS_ENABLED'], 'posthog' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key != "GX_ANALYTICS_ENABLED"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["false", "False"]
