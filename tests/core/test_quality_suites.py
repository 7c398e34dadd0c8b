"""Suites are read and checked as plain values, with every fault and its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contender.errors import SpecError, UsageError
from contender.names import TASKS
from contender.quality.scopes import SCOPES, Scope
from contender.quality.suites import default_suite, load_suite, shipped_suites

MINIMAL = {"expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}]}


def refused(folder: Path, name: str, text: str | bytes) -> str:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        load_suite(name, folder)
    return caught.value.what


def test_each_implemented_task_has_a_default_suite_that_ships() -> None:
    tasks = list(TASKS)
    assert tasks
    for task in tasks:
        assert default_suite(task) in shipped_suites()
        assert load_suite(default_suite(task), Path("/nowhere"))["expectations"]


def test_a_bare_name_is_one_that_ships_and_a_file_beside_the_pipeline_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(MINIMAL))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.yaml").write_text(
        "expectations:\n- {type: expect_table_row_count_to_equal, kwargs: {value: 3}}\n"
    )
    assert load_suite("mine.json", tmp_path)["name"] == "mine"
    assert load_suite("sub/mine.yaml", tmp_path)["expectations"][0]["kwargs"] == {"value": 3}
    assert load_suite("text_classification.yaml", tmp_path)["name"] == "text_classification"


def test_json_and_yaml_give_the_same_suite(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"name": "s", **MINIMAL}))
    (tmp_path / "b.yaml").write_text(json.dumps({"name": "s", **MINIMAL}))
    assert load_suite("a.json", tmp_path) == load_suite("b.yaml", tmp_path)


def test_an_unknown_suite_names_the_nearest_and_all_that_ship(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'text_classification\.yaml'") as caught:
        load_suite("text_clasification.yaml", tmp_path)
    assert all(name in caught.value.what.partition("known: ")[2] for name in shipped_suites())


def test_a_suite_of_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown suite 'suite\.txt'"):
        load_suite("suite.txt", tmp_path)


def test_an_unknown_expectation_is_named_with_its_place_and_the_nearest_known(tmp_path: Path) -> None:
    text = "name: s\nexpectations:\n  - type: expect_column_values_to_not_be_nul\n    kwargs: {column: text}\n"
    said = refused(tmp_path, "s.yaml", text)
    assert said.startswith("s.yaml:3:")
    assert "'expect_column_values_to_not_be_nul'" in said
    assert "expect_column_values_to_not_be_null" in said


def test_every_fault_of_a_suite_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
name: s
colour: red
expectations:
  - type: expect_nothing
    kwargs: {}
  - type: expect_column_values_to_not_be_null
    severity: fatal
    kwarg: {column: text}
  - just text
  - type: unexpected_rows_expectation
    kwargs: {unexpected_rows_query: SELECT 1}
  - type: expect_column_values_to_not_be_null
    kwargs: [text]
"""
    lines = refused(tmp_path, "s.yaml", text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "4", "8", "7", "9", "10", "13"]
    assert "known: critical, info, warning" in "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "expectations: [", "a.yaml:"),
        ("a.yaml", "", "list `expectations`"),
        ("a.yaml", "expectations: []", "not empty"),
        ("a.yaml", "- 1", "a suite is a mapping"),
        ("a.yaml", b"name: \xff\xfe", "not UTF-8"),
        ("a.json", b'{"name": "\xff"}', "not UTF-8"),
        ("a.json", '{\n  "expectations": [,]\n}', "a.json:2:"),
        ("a.json", "[" * 100_000, "a.json:"),
        ("a.json", '{"expectations": [{"type": "expect_x"}]}', "a.json:1:"),
        ("a.yaml", "suite_parameters: [1]\nexpectations: [1]", "a.yaml:1:1: suite_parameters must be a mapping"),
        ("a.yaml", "suite_parameters:\n  reference_labels: [a]\nexpectations: [1]", "a.yaml:2:3: reference_labels"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    assert said in refused(tmp_path, name, text)


@pytest.mark.parametrize("name", ["x" * 300 + ".yaml", "sub/" + "x" * 300 + ".json", "nul\0.yaml", "a.yaml/b.yaml"])
def test_a_name_that_no_file_can_have_is_an_unknown_suite(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(UsageError, match="unknown suite"):
        load_suite(name, tmp_path)


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(UsageError):
        load_suite("a.yaml", tmp_path)


def test_a_spec_error_is_a_usage_error() -> None:
    assert issubclass(SpecError, UsageError)


def test_the_shipped_suites_use_expectations_that_run_in_bounded_memory() -> None:
    visited = 0
    for name in shipped_suites():
        for expectation in load_suite(name, Path())["expectations"]:
            visited += 1
            assert SCOPES[expectation["type"]] in (Scope.ROW, Scope.TABLE, Scope.SCHEMA)
            assert expectation["meta"]["reason"]
    assert visited > 10


def test_reading_a_suite_imports_neither_great_expectations_nor_pandas() -> None:
    code = (
        "import sys; from pathlib import Path; from contender.quality.suites import load_suite;"
        "load_suite('text_classification.yaml', Path());"
        "print([m for m in ('great_expectations', 'pandas', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
