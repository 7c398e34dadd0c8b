"""Features of the past: equal to counting by hand, and blind to what was not known yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from contender.data.history import with_history
from contender.data.times import DAY, seconds_of, written
from contender.errors import DataError, UsageError
from contender.features import History

OPTIONS = History(time="at", entities=("who",), values=("amount",), windows=("1d", "7d"), label_delay="2d")


def rows(count: int = 300, seed: int = 3) -> pa.Table:
    random = np.random.default_rng(seed)
    amounts = [None if value < 5 else float(value) for value in random.integers(0, 100, count)]
    return pa.table(
        {
            "at": pa.array(random.integers(0, 20 * DAY, count), pa.int64()),
            "who": pa.array(
                [None if value == 0 else f"w{value}" for value in random.integers(0, 8, count)], pa.string()
            ),
            "amount": pa.array(amounts, pa.float64()),
            "label": pa.array(random.choice(["ok", "bad"], count).tolist()),
        }
    )


def by_hand(table: pa.Table, options: History) -> dict[str, list[float]]:
    """The definition, row by row."""
    entries: list[dict[str, Any]] = table.to_pylist()
    found: dict[str, list[float]] = {name: [] for name, *_ in options.parts()}
    for place, row in enumerate(entries):
        before = [
            other
            for number, other in enumerate(entries)
            if other["who"] == row["who"] and (other["at"], number) <= (row["at"], place)
        ]
        for name, _, what, window, value in options.parts():
            recent = [other for other in before if other["at"] > row["at"] - window]
            if what == "count":
                found[name].append(len(recent))
            elif what == "mean":
                known = [other[str(value)] for other in recent if other[str(value)] is not None]
                found[name].append(sum(known) / len(known) if known else float("nan"))
            else:
                delay = options.label_delay or 0
                old = [o for o in before if row["at"] - delay - window < o["at"] <= row["at"] - delay]
                found[name].append(sum(o["label"] == "bad" for o in old) / len(old) if old else 0.0)
    return found


def test_every_feature_is_what_its_definition_gives_row_by_row() -> None:
    table = rows()
    found = with_history(table, OPTIONS, "label", "bad")
    expected = by_hand(table, OPTIONS)
    assert found.column_names == [*table.column_names, *OPTIONS.names]
    assert len(expected) == 6
    for name, values in expected.items():
        np.testing.assert_allclose(found.column(name).to_numpy(), values, rtol=1e-9, atol=1e-9, err_msg=name)


def same(ours: pa.Table, theirs: pa.Table) -> None:
    for name in OPTIONS.names:
        np.testing.assert_array_equal(ours.column(name).to_numpy(), theirs.column(name).to_numpy(), err_msg=name)


def test_no_later_row_and_no_label_of_the_last_days_changes_a_feature() -> None:
    table = rows()
    moment = 10 * DAY
    times = table.column("at").to_numpy()
    whole = with_history(table, OPTIONS, "label", "bad")
    past = with_history(table.filter(pa.array(times <= moment)), OPTIONS, "label", "bad")
    early = pa.array(times <= moment)
    same(whole.filter(early), past)
    hidden = [
        "ok" if time > moment - 2 * DAY else label
        for time, label in zip(times, table.column("label").to_pylist(), strict=True)
    ]
    blind = with_history(table.set_column(3, "label", pa.array(hidden)), OPTIONS, "label", "bad")
    same(blind.filter(early), whole.filter(early))
    with pytest.raises(AssertionError, match="who_risk"):
        same(blind, whole)


def test_weekends_and_nights_are_those_of_the_calendar() -> None:
    options = History(time="at", entities=("who",))
    times = ["2018-07-14 03:00:00", "2018-07-15T12:00:00Z", "2018-07-16 23:59:59", "2018-07-13T06:59:00+00:00"]
    found = with_history(pa.table({"at": times, "who": ["a"] * 4}), options)
    assert found.column("at_weekend").to_pylist() == [1, 1, 0, 0]
    assert found.column("at_night").to_pylist() == [1, 0, 0, 1]


def test_times_are_read_from_whatever_wrote_them() -> None:
    moment = 1_531_526_400.0
    assert written(moment) == "2018-07-14 00:00:00"
    stamps = pa.array([int(moment)], pa.int64()).cast(pa.timestamp("s"))
    for cells in (stamps, stamps.cast(pa.timestamp("ns", "UTC")), pa.array(["2018-07-14"]), pa.array([moment])):
        assert seconds_of(pa.chunked_array([cells]), "at").tolist() == [moment]
    assert seconds_of(pa.array(["2018-07-14 02:00+02:00", str(moment)]), "at").tolist() == [moment, moment]
    with pytest.raises(DataError, match="row 2: the cell of column at 'soon' is no time"):
        seconds_of(pa.array(["2018-07-14", "soon"]), "at")
    with pytest.raises(DataError, match="row 1: the cell of column at is null"):
        seconds_of(pa.array([None], pa.string()), "at")


def test_what_does_not_fit_the_table_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no column who, amount"):
        with_history(pa.table({"at": [1], "label": ["a"]}), OPTIONS, "label", "a")
    with pytest.raises(UsageError, match="has a column who_count_1d already"):
        with_history(rows().append_column("who_count_1d", pa.nulls(300)), OPTIONS, "label", "bad")
    with pytest.raises(UsageError, match="which of its values is positive"):
        with_history(rows(), OPTIONS)
    with pytest.raises(ValidationError, match="windows names one twice"):
        History(time="at", entities=("who",), windows=("1d", "24h"))
