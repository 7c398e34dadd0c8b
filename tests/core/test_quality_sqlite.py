"""What a gate says of a few rows it says of many: SQLite's answers are pandas' own, whatever the columns hold."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.errors import UsageError
from contender.quality.conditions import of_one_row, query_of
from contender.quality.engine import exception_of
from contender.quality.exact import ASKED
from contender.quality.plan import Plan, make_plan
from contender.quality.rows import open_row_file
from contender.quality.running import Limits, Ran, run
from contender.quality.scopes import SCOPES, Scope
from expectations.quantiles import nearest_place

ROWS = 60
Case = tuple[str, dict[str, Any]]

BETWEEN = {"min_value": 0, "max_value": 5}
QUANTILES = {"quantiles": [0.0, 0.1, 0.25, 0.5, 0.9, 1.0], "value_ranges": [[0, 5]] * 6}
ONE_COLUMN: list[Case] = [
    *(
        (f"expect_column_distinct_values_to_{what}", {"value_set": values})
        for what in ("be_in_set", "contain_set", "equal_set")
        for values in (["a", "b"], [1, 2], ["1", "2"], [1, None], [True], ["2020-01-01"])
    ),
    *(
        ("expect_column_kl_divergence_to_be_less_than", {"partition_object": partition, "threshold": 0.1})
        for partition in (
            {"values": ["a", "b"], "weights": [0.5, 0.5]},
            {"values": [1, 2], "weights": [0.5, 0.5]},
            {"bins": [0, 5, 10, 40], "weights": [0.3, 0.3, 0.4]},
        )
    ),
    *((f"expect_column_{what}_to_be_between", BETWEEN) for what in ("max", "min", "mean", "median", "stdev", "sum")),
    ("expect_column_max_to_be_between", {"min_value": "2020-01-01T00:00:00"}),
    ("expect_column_quantile_values_to_be_between", {"quantile_ranges": QUANTILES}),
    ("expect_column_quantile_values_to_be_between", {"quantile_ranges": QUANTILES, "allow_relative_error": "linear"}),
    ("expect_column_most_common_value_to_be_in_set", {"value_set": ["a", 1]}),
    ("expect_column_proportion_of_non_null_values_to_be_between", {"min_value": 0.9}),
    ("expect_column_proportion_of_unique_values_to_be_between", {"min_value": 0.5}),
    ("expect_column_unique_value_count_to_be_between", BETWEEN),
    ("expect_column_values_to_be_unique", {}),
    ("expect_column_values_to_be_unique", {"mostly": 0.1}),
    ("expect_column_every_value_to_have_rows", {"min_rows": 9}),
    ("expect_column_shares_to_match_reference", {"reference": {"a": 1.0}, "max_distance": 0.1}),
    ("expect_column_pair_duplicates_to_agree", {"column_A": "x", "column_B": "label"}),
    ("expect_column_pair_rows_to_be_distinct", {"column_A": "text", "column_B": "x"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["x", "label"]}),
]


def holed(values: Iterable[Any]) -> list[Any]:
    return [None if place % 7 == 3 else value for place, value in enumerate(values)]


def _kinds() -> dict[str, pa.Array]:
    rng = random.Random(3)
    numbers = [rng.randrange(-20, 20) for _ in range(ROWS)]
    days = [dt.date(2020, 1, 1) + dt.timedelta(abs(number)) for number in numbers]
    times = holed(dt.datetime(day.year, day.month, day.day) for day in days)
    return {
        "int64": pa.array(holed(numbers)),
        "int8": pa.array(holed(numbers), pa.int8()),
        "uint32": pa.array([2**32 - 1 - abs(number) for number in numbers], pa.uint32()),
        "uint64": pa.array(holed(abs(number) for number in numbers), pa.uint64()),
        "uint64 of 64 bits": pa.array([2**64 - 1 - place for place in range(ROWS)], pa.uint64()),
        "int64 of 63 bits": pa.array([2**62 + place for place in range(ROWS)]),
        "float64": pa.array(holed(math.nan if number == 7 else number / 3 for number in numbers)),
        "float64 with infinities": pa.array([math.inf, -math.inf, *(number / 3 for number in numbers[2:])]),
        "float32": pa.array(holed(number / 3 for number in numbers), pa.float32()),
        "bool": pa.array(holed(number > 5 for number in numbers)),
        "string": pa.array(holed("ab\0ü"[number % 4] for number in numbers)),
        "string of digits": pa.array(holed(str(abs(number)) for number in numbers)),
        "dictionary of numbers": pa.array(holed(number % 3 for number in numbers)).dictionary_encode(),
        "date": pa.array(holed(days)),
        "timestamp": pa.array(times),
        "timestamp with a zone": pa.array(times, pa.timestamp("us", "Europe/Berlin")),
        "decimal": pa.array(holed(Decimal(number) / 4 for number in numbers), pa.decimal128(10, 2)),
        "list": pa.array([[number % 3, 1] for number in numbers]),
        "null": pa.array([None] * ROWS),
        "int64 without a value": pa.array([None] * ROWS, pa.int64()),
        "float64 without a value": pa.array([math.nan] * ROWS),
        "string without a value": pa.array([None] * ROWS, pa.string()),
    }


KINDS = _kinds()


def table_of(**columns: Any) -> pa.Table:
    labels = ["ab"[place % 2] for place in range(ROWS)]
    return pa.table({"text": [f"text {place % 20}" for place in range(ROWS)], "label": labels, **columns})


def ran(folder: Path, table: pa.Table, cases: Sequence[Case], chunk: int, memory: int = 10**6) -> tuple[Plan, Ran]:
    folder.mkdir(exist_ok=True)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    rows = open_row_file(folder / "rows.arrow", {"text": "text", "label": "label"})
    suite = {"expectations": [{"type": kind, "kwargs": kwargs} for kind, kwargs in cases]}
    plan = make_plan(suite, {}, rows.names, rows.types())
    return plan, run(plan, rows, folder, Limits(chunk, memory))


def same(one: Any, other: Any) -> bool:
    """Equal as values: 50 and 50.0, in any of the containers that GX observes; sums of floats to nine digits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple | np.ndarray):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float | np.floating) and isinstance(other, int | float | np.number):
        return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def differences(folder: Path, table: pa.Table, cases: Sequence[Case]) -> list[str]:
    """Where the rows in chunks of 17 are told otherwise than all at once in pandas."""
    plan, whole = ran(folder, table, cases, ROWS)
    _, parts = ran(folder, table, cases, 17)
    bad = [{item.number: mask.tolist() for item, mask in of.failed.items()} for of in (whole, parts)]
    found = []
    for item in plan.planned:
        one, other = whole.results[item.number], parts.results[item.number]
        names = ("observed_value", "element_count", "unexpected_count", "missing_count")
        if (exception_of(one) is None) != (exception_of(other) is None) or bool(one.success) != bool(other.success):
            found.append(f"{item.name} {item.kwargs}: {one.success} {exception_of(one)}, {exception_of(other)}")
        elif exception_of(one) is None:
            found += [
                f"{item.name} {item.kwargs} {name}: {one.result.get(name)}, {other.result.get(name)}"
                for name in names
                if not same(one.result.get(name), other.result.get(name))
            ]
        if bad[0].get(item.number) != bad[1].get(item.number):
            found.append(f"{item.name} {item.kwargs}: other rows")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_column_is_told_in_chunks_as_it_is_at_once(kind: str, tmp_path: Path) -> None:
    cases = [
        (name, kwargs if {"column_A", "column_list"} & set(kwargs) else {"column": "x", **kwargs})
        for name, kwargs in ONE_COLUMN
    ]
    assert differences(tmp_path, table_of(x=KINDS[kind]), cases) == []


def test_every_whole_column_expectation_says_what_it_asks() -> None:
    about_columns = {name for name, scope in SCOPES.items() if scope is Scope.TABLE and "row_count" not in name}
    assert about_columns == set(ASKED) == {name for name, _ in ONE_COLUMN}


# --- row conditions ---------------------------------------------------------------------------------------------------

CONDITIONS: list[dict[str, Any]] = [
    {"row_condition": 'label == "a"', "condition_parser": "pandas"},
    {"row_condition": 'label == "a"'},
    {"row_condition": 'col("label")=="a"', "condition_parser": "great_expectations"},
    {"row_condition": 'col("n")!=3', "condition_parser": "great_expectations"},
    {"row_condition": 'col("n")=="3"', "condition_parser": "great_expectations"},
    {"row_condition": {"type": "nullity", "column": {"name": "n"}, "is_null": True}},
    {"row_condition": "n > n.mean()", "condition_parser": "pandas"},
    {"row_condition": "n in m", "condition_parser": "pandas"},
    {"row_condition": "`odd name` == 1 and day > 3", "condition_parser": "pandas"},
    {"row_condition": 'label == "none such"', "condition_parser": "pandas"},
    {"row_condition": "index % 2 == 0", "condition_parser": "pandas"},
]
CONDITIONED: list[Case] = [
    ("expect_column_values_to_be_unique", {"column": "n"}),
    ("expect_column_values_to_be_between", {"column": "n", "min_value": 0}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["label", "n"]}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["label", "n"], "ignore_row_if": "any_value_is_missing"}),
    ("expect_table_row_count_to_equal", {"value": 30}),
    ("expect_column_sum_to_be_between", {"column": "n", "min_value": 0}),
    ("expect_column_quantile_values_to_be_between", {"column": "n", "quantile_ranges": QUANTILES}),
    ("expect_column_unique_value_count_to_be_between", {"column": "n", "max_value": 5}),
    ("expect_column_distinct_values_to_be_in_set", {"column": "label", "value_set": ["a"]}),
    ("expect_column_pair_duplicates_to_agree", {"column_A": "text", "column_B": "label"}),
    ("expect_column_pair_rows_to_be_distinct", {"column_A": "text", "column_B": "label"}),
    ("expect_column_every_value_to_have_rows", {"column": "label", "min_rows": 20}),
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: str(condition["row_condition"]))
def test_a_row_condition_means_the_same_in_chunks_as_at_once(condition: dict[str, Any], tmp_path: Path) -> None:
    table = table_of(
        n=KINDS["int64"],
        m=pa.array(range(ROWS)),
        N=pa.array(range(ROWS)),
        day=KINDS["date"],
        **{"odd name": pa.array([place % 2 for place in range(ROWS)])},
    )
    assert differences(tmp_path, table, [(name, {**kwargs, **condition}) for name, kwargs in CONDITIONED]) == []


@pytest.mark.parametrize(
    "query", ["n > 3", 'a == "x.y" and b.isnull()', "a.str.len() > 1.5", "n in [1, 2]", "`in` > 1"]
)
def test_conditions_that_each_row_decides_for_itself_run_in_chunks(query: str) -> None:
    assert of_one_row(query)


@pytest.mark.parametrize("query", ["n > n.mean()", "a in b", "a.isin(b)", "a.shift() == a", "a.str.cat() == 'x'"])
def test_conditions_that_look_at_other_rows_need_all_of_them(query: str) -> None:
    assert not of_one_row(query)


def test_great_expectations_own_conditions_become_pandas_queries() -> None:
    given = {"row_condition": 'col("odd name")>=3', "condition_parser": "great_expectations"}
    assert query_of(given) == "`odd name` >= 3"
    assert query_of({"column": "n"}) == ""


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [ROWS, 17], ids=["at once", "in chunks"])
def test_columns_whose_names_differ_in_case_alone_are_not_taken_for_one(chunk: int, tmp_path: Path) -> None:
    counts = {"num": 3, "Num": 7, "NUM": 60, "straße": 5, "STRASSE": 2}
    columns = {name: pa.array([place % count for place in range(ROWS)]) for name, count in counts.items()}
    cases: list[Case] = [
        *(("expect_column_unique_value_count_to_be_between", {"column": name, "max_value": 1}) for name in counts),
        *(("expect_column_values_to_be_between", {"column": name, "max_value": 1}) for name in counts),
        ("expect_compound_columns_to_be_unique", {"column_list": ["num", "Num"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["num", "NUM"]}),
    ]
    _, found = ran(tmp_path, table_of(**columns), cases, chunk)
    assert [found.results[number].result["observed_value"] for number in range(5)] == list(counts.values())
    for number, count in enumerate(counts.values()):
        beyond = sum(place % count > 1 for place in range(ROWS))
        assert found.results[5 + number].result["unexpected_count"] == beyond
    assert [found.results[number].success for number in (10, 11)] == [False, True]


def test_names_that_sqlite_or_the_table_itself_uses_are_names_like_others(tmp_path: Path) -> None:
    names = [
        "select",
        'q"x',
        "a.b",
        "%s",
        ":p",
        "[x]",
        "ü'",
        "rowid",
        "__row_index",
        "__Key_text",
        "__where_0",
        "text x",
    ]
    columns = {name: pa.array([(place + shift) % 9 for place in range(ROWS)]) for shift, name in enumerate(names)}
    cases: list[Case] = []
    for name in names:
        cases += [
            ("expect_column_values_to_be_unique", {"column": name, "row_condition": 'label == "a"'}),
            ("expect_column_median_to_be_between", {"column": name, "min_value": 5}),
            ("expect_column_pair_duplicates_to_agree", {"column_A": name, "column_B": "label"}),
            ("expect_column_pair_rows_to_be_distinct", {"column_A": "text", "column_B": name}),
        ]
    assert differences(tmp_path, table_of(**columns), cases) == []


# --- what SQLite does not have ----------------------------------------------------------------------------------------

NOT_IN_SQLITE: list[Case] = [
    ("expect_column_max_to_be_between", {"column": "decimal", "max_value": 500}),
    ("expect_column_values_to_be_unique", {"column": "list"}),
    ("expect_column_sum_to_be_between", {"column": "int64 of 63 bits", "min_value": 0}),
    ("expect_column_max_to_be_between", {"column": "uint64 of 64 bits", "min_value": 0}),
    ("expect_column_values_to_be_unique", {"column": "int64", "row_condition": "index > index.max() - 5"}),
]


@pytest.mark.parametrize(("kind", "kwargs"), NOT_IN_SQLITE, ids=str)
def test_what_sqlite_cannot_tell_is_refused_by_name_above_the_limit(
    kind: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"would need all 60 rows in memory") as caught:
        ran(tmp_path, table_of(**KINDS), [(kind, kwargs)], 17, memory=ROWS - 1)
    assert caught.value.what.startswith(f"{kind}({kwargs['column']})")


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_place_of_a_quantile_is_numpys(count: int, quantile: float) -> None:
    assert nearest_place(count, quantile) == np.quantile(np.arange(count), quantile, method="nearest")


def test_a_column_that_is_only_shown_is_cut_and_one_that_is_compared_is_not(tmp_path: Path) -> None:
    long = [("x" * 300 + str(place % 30)) for place in range(ROWS)]
    cases: list[Case] = [
        ("expect_column_pair_duplicates_to_agree", {"column_A": "long", "column_B": "long"}),
        ("expect_column_pair_duplicates_to_agree", {"column_A": "label", "column_B": "long"}),
        ("expect_column_pair_rows_to_be_distinct", {"column_A": "int64", "column_B": "long"}),
    ]
    assert differences(tmp_path, table_of(long=pa.array(long), **KINDS), cases) == []
