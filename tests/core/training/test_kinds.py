from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from contender.errors import DataError, ModelError, UsageError
from contender.kinds import kind, tasks


def test_every_kind_states_what_the_protocol_asks():
    assert tasks()
    for task in tasks():
        assert kind(task).task == task
    assert "text-classification" in tasks()


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(UsageError, match="did you mean 'text-classification'"):
        kind("text-clasification")


def test_a_kind_is_light_to_import():
    code = "import sys; from contender.kinds import kind; kind('text-classification'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


@pytest.mark.parametrize(
    ("parameters", "rate"),
    [(22_700_000, 2e-4), (110_000_000, 5e-5), (50_000_000, 1e-4), (1_000, 5e-4), (10**12, 1e-5)],
)
def test_the_learning_rate_fits_the_size_of_the_base(parameters, rate):
    assert kind("text-classification").learning_rate("full", parameters) == pytest.approx(rate, rel=0.03)


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_base) -> Path:
    """A release of three labels, untrained."""
    from contender.training.saving import save_model_files

    folder = tmp_path_factory.mktemp("release")
    found = kind("text-classification")
    loaded = found.load_model(tiny_base, ("blue", "green", "red"))
    save_model_files(loaded, found.load_processor(tiny_base), 16, folder)
    return folder


def test_predictions_come_in_the_order_of_the_rows_whatever_the_batches(model, rows_file, coloured_rows):
    rows = rows_file("rows.arrow", coloured_rows(150))
    seen: list[int] = []
    small = kind("text-classification").predict(model, rows, batch_size=7, on_rows=seen.append)
    large = kind("text-classification").predict(model, rows, batch_size=64)
    assert small["row"].to_pylist() == small["key"].to_pylist() == list(range(150))
    assert small["label"].to_pylist() == [label for _, label in coloured_rows(150)]
    assert small["prediction"] == large["prediction"]
    assert small["confidence"].to_pylist() == pytest.approx(large["confidence"].to_pylist(), abs=1e-5)
    turned = kind("text-classification").predict(model, rows_file("turned.arrow", coloured_rows(150)[::-1]))
    assert turned["confidence"].to_pylist()[::-1] == pytest.approx(large["confidence"].to_pylist(), abs=1e-5)
    assert len(set(large["confidence"].to_pylist())) > 100
    assert seen[-1] == 150
    assert large.equals(kind("text-classification").predict(model, rows, batch_size=64))


def test_probabilities_are_those_of_the_true_label_and_of_the_prediction(model, rows_file):
    rows = rows_file(
        "rows.arrow", [("red word1", "red"), ("red word1", "blue"), ("red word1", "green"), ("red word1", "grey")]
    )
    outcomes = kind("text-classification").predict(model, rows).to_pydict()
    assert sum(outcomes["p_label"][:3]) == pytest.approx(1)
    assert max(outcomes["p_label"]) == pytest.approx(outcomes["confidence"][0])
    assert outcomes["p_label"][3] == 0  # a label that the model does not know
    assert set(outcomes["prediction"]) <= {"blue", "green", "red"}


def test_no_rows_give_no_outcomes_of_the_same_columns(model, rows_file, coloured_rows):
    none = kind("text-classification").predict(model, rows_file("none.arrow", []))
    some = kind("text-classification").predict(model, rows_file("some.arrow", coloured_rows(3)))
    assert len(none) == 0
    assert none.schema.equals(some.schema)
    assert some.schema.field("key").type == pa.uint64()


def test_texts_of_any_length_and_content_are_read(model, rows_file):
    texts = ["", " ", "red " * 10_000, "\x00\x1b[2J", "😀", "[PAD] [CLS]"]
    outcomes = kind("text-classification").predict(model, rows_file("odd.arrow", [(text, "red") for text in texts]))
    assert len(outcomes) == len(texts)


def test_a_damaged_release_and_a_foreign_row_file_are_named(model, rows_file, tmp_path, coloured_rows):
    rows = rows_file("rows.arrow", coloured_rows(3))
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 50 if file.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="cannot be loaded"):
        kind("text-classification").predict(broken, rows)
    other = tmp_path / "other.arrow"
    with pa.OSFile(str(other), "wb") as sink, pa.ipc.new_stream(sink, pa.schema({"text": pa.string()})) as writer:
        writer.write_table(pa.table({"text": ["a"]}))
    with pytest.raises(DataError, match="has no column _key, label"):
        kind("text-classification").predict(model, other)
