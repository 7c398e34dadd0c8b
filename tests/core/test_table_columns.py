"""Which columns of a table are read, which give the label away, and how a table's rows are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contender.data.history import add_history
from contender.data.leaking import refuse_leaks
from contender.data.normalise import NORMALISER
from contender.data.rowfile import RowWriter, open_rows
from contender.data.split import split
from contender.data.times import DAY
from contender.errors import DataError, SpecError
from contender.features import History
from contender.loading import validate
from contender.names import EXAMPLE, TASKS
from contender.plan import features, kept_columns, required_columns
from contender.records import SplitDefinition
from contender.spec import Pipeline, Spec
from contender.yamlfile import parse_yaml

TABLE: dict[str, Any] = {"name": "a", "task": "tabular-classification", "data": {"source": "d/"}}
PAST = {"time": "at", "entities": ["who"], "windows": ["1d"]}


def pipeline(**data: Any) -> Pipeline:
    value = TABLE | {"data": {"source": "d/", "columns": {"label": "fraud"}, **data}}
    return Pipeline(spec=Spec.model_validate(value), folder="/", suite_name="s", suite={})


def test_a_table_needs_neither_a_base_nor_a_split_key() -> None:
    spec = pipeline().spec
    assert (spec.model.base, spec.model.init, spec.data.split.key) == ("builtin:tabular", "scratch", EXAMPLE)
    assert spec.evaluate.metrics[0] == "average_precision"


def test_all_columns_are_read_but_those_that_are_something_else() -> None:
    found = ["id", "age", "at", "fraud", "who", "scenario", "_file", "_row"]
    assert features(pipeline(), found) == ("age", "at", "id", "scenario", "who")
    assert features(pipeline(), [*found, "label", "_key"]) == features(pipeline(), found)
    by_time = {"by": "time", "column": "at", "key": "id"}
    chosen = pipeline(split=by_time, features={"drop": ["scenario"]})
    assert features(chosen, found) == ("age", "who")
    assert required_columns(chosen) == ["at", "fraud", "id"]
    past = pipeline(features={"drop": ["scenario"], "history": PAST})
    assert features(past, found) == ("age", "id", "at_weekend", "at_night", "who_count_1d")
    assert required_columns(past) == ["at", "fraud", "who"]
    named = pipeline(features={"columns": ["who", "age"], "history": PAST})
    assert features(named, found) == ("who", "age", "at_weekend", "at_night", "who_count_1d")
    assert kept_columns(named, found) == ("age", "at_night", "at_weekend", "who", "who_count_1d")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("features: {columns: [a], drop: [b]}", "give one of the two"),
        ("features: {drop: [label]}", "data.features.drop: names 'label', which is the column of the label"),
        ("features: {columns: [a], categorical: [b]}", "data.features.categorical: names 'b', which is not read"),
        (
            "features: {history: {time: at, entities: [who], label_delay: 7d}}",
            "data.features.history.label_delay: needs evaluate.positive",
        ),
        (
            "golden: {g: g.csv}\n  features: {history: {time: at, entities: [who]}}",
            "has no past to read for data.golden",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused_at_their_key(extra: str, says: str) -> None:
    text = f"name: a\ntask: tabular-classification\ndata:\n  source: d/\n  {extra}\n"
    with pytest.raises(SpecError) as caught:
        validate(parse_yaml(text, "p.yaml"))
    assert says in caught.value.what


def test_a_task_that_reads_roles_has_no_features_and_no_positive_class() -> None:
    text = "name: a\ntask: text-classification\ndata: {source: d/, features: {drop: [a]}}\nmodel: {base: b}\n"
    with pytest.raises(SpecError) as caught:
        validate(parse_yaml(text + "evaluate: {positive: x}\n", "p.yaml"))
    assert "text-classification reads its roles alone" in caught.value.what
    assert "evaluate.positive: is for rankings" in caught.value.what


def row_file(path: Path, columns: dict[str, list[Any]]) -> Path:
    writer = RowWriter(path)
    writer.begin("data.csv")
    writer.add(pa.record_batch({name: pa.array(values) for name, values in columns.items()}))
    writer.close()
    return path


def test_a_column_that_gives_the_label_away_is_refused_by_name(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    label = random.random(2_000) < 0.1
    columns: dict[str, list[Any]] = {
        "label": np.where(label, "yes", "no").tolist(),
        "scenario": [str(kind) for kind in label * random.integers(1, 4, 2_000)],
        "score": [str(value) for value in label + random.random(2_000)],
        "helps": [str(value) for value in label + random.normal(0, 0.3, 2_000)],
        "id": [str(number) for number in range(2_000)],
    }
    rows = row_file(tmp_path / "rows.arrow", columns)
    with pytest.raises(DataError, match=r"each by itself: scenario \(100.0%\), score \(") as caught:
        refuse_leaks(rows, {"scenario", "score", "helps", "id"})
    assert "helps" not in caught.value.what
    assert "data.features.drop" in caught.value.fix
    refuse_leaks(rows, {"helps", "id"})


def test_a_few_rows_are_no_proof_of_a_leak(tmp_path: Path) -> None:
    rows = row_file(tmp_path / "rows.arrow", {"label": ["a", "b"] * 20, "same": ["1", "2"] * 20})
    refuse_leaks(rows, {"same"})


def dealt(folder: Path, columns: dict[str, list[Any]], key: str, made: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    rows = row_file(folder / "rows.arrow", columns)
    np.save(folder / "admitted.npy", np.arange(len(columns["label"])))
    definition = SplitDefinition(key=key, test=0.5, validation=0.1, salt="s", normaliser=NORMALISER)
    keep = [name for name in columns if name != "label"]
    task = TASKS["tabular-classification"]
    report = split(
        rows, folder / "admitted.npy", {"label": "label"}, keep, definition, {}, folder, task=task, made=made
    )
    return {name: open_rows(folder / f"{name}.arrow").to_list() for name in report.rows}


def test_equal_rows_of_a_table_without_an_id_stay_together_and_all_stay(tmp_path: Path) -> None:
    colours = [f"c{number % 7}" for number in range(210)]
    sets = dealt(tmp_path, {"label": ["a", "b", "b"] * 70, "colour": colours}, EXAMPLE)
    assert sum(map(len, sets.values())) == 210
    assert len(sets["test"]) > 20
    of_set = [{row["colour"] for row in rows} for rows in sets.values()]
    assert sum(map(len, of_set)) == len(set(colours))
    assert len({row["_key"] for row in sets["test"]}) == len({row["colour"] for row in sets["test"]})


def test_a_repeated_row_with_an_id_is_held_out_once(tmp_path: Path) -> None:
    ids = [str(number) for number in range(100)]
    sets = dealt(tmp_path, {"label": ["a", "b"] * 100, "id": [*ids, *ids], "n": [1] * 200}, "id")
    of_test = [row["id"] for row in sets["test"]]
    assert len(of_test) == len(set(of_test)) > 20


def test_what_is_computed_from_the_past_is_no_part_of_what_a_row_is(tmp_path: Path) -> None:
    raw = {"label": ["a", "b"] * 50, "n": [str(number) for number in range(100)]}
    folders = [tmp_path / "one", tmp_path / "other"]
    keys = []
    for number, folder in enumerate(folders):
        folder.mkdir()
        sets = dealt(folder, {**raw, "past": [str(number)] * 100}, EXAMPLE, ("past",))
        keys.append({name: [row["_key"] for row in rows] for name, rows in sets.items()})
    assert keys[0] == keys[1]


def test_the_past_is_that_of_admitted_rows_and_stands_beside_them(tmp_path: Path) -> None:
    times = [float(day) * DAY for day in range(6)]
    columns: dict[str, list[Any]] = {"label": ["a"] * 6, "at": times, "who": ["x"] * 6, "n": [*range(6)]}
    rows = row_file(tmp_path / "rows.arrow", columns)
    np.save(tmp_path / "admitted.npy", np.array([0, 1, 3, 5]))
    options = History(time="at", entities=("who",), windows=("3d",))
    out = tmp_path / "out.arrow", tmp_path / "out.npy"
    add_history(rows, tmp_path / "admitted.npy", options, "label", None, *out)
    found = open_rows(out[0]).to_list()
    assert np.load(out[1]).tolist() == [0, 1, 2, 3]
    assert [(row["n"], row["who_count_3d"]) for row in found] == [(0, 1), (1, 2), (3, 2), (5, 2)]
