"""The metrics are evaluate's modules, need no network, and give scikit-learn's values."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import DataError, ModelError, UsageError
from contender.evaluation.evaluate import evaluate_set, evaluation_id, metric_revisions
from contender.evaluation.metrics import METRICS, compute, metric
from contender.names import METRIC_NAMES

ROOT = Path(__file__).parents[2]
LABELS = ["refund", "invoice", "login", "other"]
# Of outcomes whose label is one of a set; tests/core/test_metrics_tags.py has those of tags.
OF_CLASSES = ("accuracy", "precision", "recall", "f1_macro", "f1_weighted", "log_loss", "calibration_error")


def outcomes(labels, predictions, p_label=None, confidence=None):
    rows = len(labels)
    return pa.table(
        {
            "key": pa.array(range(rows), pa.uint64()),
            "label": pa.array(labels, pa.string()),
            "prediction": pa.array(predictions, pa.string()),
            "p_label": pa.array([0.5] * rows if p_label is None else p_label, pa.float32()),
            "confidence": pa.array([0.5] * rows if confidence is None else confidence, pa.float32()),
        }
    )


def expected(labels, predictions):
    from sklearn import metrics as sk

    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sk.accuracy_score(labels, predictions),
        "precision": sk.precision_score(labels, predictions, **macro),
        "recall": sk.recall_score(labels, predictions, **macro),
        "f1_macro": sk.f1_score(labels, predictions, **macro),
        "f1_weighted": sk.f1_score(labels, predictions, average="weighted", zero_division=0),
    }


pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_class_metrics_equal_scikit_learn(rows):
    labels, predictions = zip(*rows, strict=True)
    want = expected(labels, predictions)
    assert compute(outcomes(labels, predictions), list(want)) == pytest.approx(want, abs=1e-12)


def test_class_metrics_equal_scikit_learn_over_many_classes_and_chunks():
    generator = np.random.default_rng(5)
    names = np.array([f"label {code}" for code in range(150)])
    labels = names[generator.zipf(1.3, 5_000) % 150]
    predictions = np.where(generator.random(5_000) < 0.8, labels, names[generator.integers(0, 150, 5_000)])
    whole = outcomes(labels, predictions)
    chunked = pa.concat_tables([whole.slice(0, 1_234), whole.slice(1_234, 0), whole.slice(1_234)])
    want = expected(labels, predictions)
    assert compute(chunked, list(want)) == pytest.approx(want, abs=1e-12)


def test_log_loss_equals_scikit_learn_on_float32_probabilities():
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(6)
    probabilities = generator.dirichlet(np.full(4, 0.3), 3_000).astype(np.float32)
    probabilities[:3] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    codes = generator.integers(0, 4, 3_000)
    table = outcomes(["x"] * 3_000, ["x"] * 3_000, p_label=probabilities[np.arange(3_000), codes])
    want = log_loss(codes, probabilities, labels=range(4))
    assert compute(table, ["log_loss"])["log_loss"] == pytest.approx(want, rel=2e-6)


def test_calibration_error_equals_the_definition_bin_by_bin():
    generator = np.random.default_rng(7)
    confidence = generator.random(2_000).astype(np.float32)
    confidence[:4] = [0.0, 1.0, np.float32(1 / 15), 0.5]
    right = generator.random(2_000) < confidence
    table = outcomes(["a"] * 2_000, np.where(right, "a", "b"), confidence=confidence)
    want, edges = 0.0, np.arange(16) / 15
    exact = confidence.astype(np.float64)
    for low, high in pairwise(edges):
        inside = (exact > low) & (exact <= high) if low else exact <= high
        want += inside.sum() / 2_000 * abs(right[inside].mean() - exact[inside].mean()) if inside.any() else 0
    assert compute(table, ["calibration_error"])["calibration_error"] == pytest.approx(want, abs=1e-9)


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    table = outcomes(["a"] * 10, ["a"] * 8 + ["b"] * 2, confidence=[0.8] * 10)
    assert compute(table, ["calibration_error"])["calibration_error"] == pytest.approx(0, abs=1e-6)


def test_every_name_that_a_spec_may_use_is_a_metric():
    assert set(METRICS) == set(METRIC_NAMES)
    for name in METRICS:
        assert metric(name).key == name


def test_metrics_are_modules_of_evaluate_with_its_own_way_in():
    import datasets  # noqa: F401 - what evaluate needs, imported as the run does

    accuracy = metric("accuracy")
    assert "evaluate.module" in {base.__module__ for base in type(accuracy).__mro__}
    assert accuracy.compute(predictions=["a", "b"], references=["a", "a"]) == {"accuracy": 0.5}
    accuracy.add_batch(predictions=["a"], references=["a"])
    accuracy.add(prediction="b", reference="a")
    assert accuracy.compute() == {"accuracy": 0.5}
    assert metric("log_loss").compute(p_label=[0.5, 0.5])["log_loss"] == pytest.approx(np.log(2))
    calibration = metric("calibration_error").compute(predictions=["a"], references=["a"], confidence=[1.0])
    assert calibration == {"calibration_error": 0.0}


def test_two_metrics_at_a_time_do_not_share_a_buffer():
    one, other = metric("accuracy"), metric("accuracy")
    one.add(prediction="a", reference="a")
    other.add(prediction="b", reference="a")
    assert (one.compute(), other.compute()) == ({"accuracy": 1.0}, {"accuracy": 0.0})
    assert one.info.experiment_id != other.info.experiment_id


ALONE = """
import json, os, socket, sys
def refused(*a, **k): raise AssertionError("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
import pyarrow as pa
from contender.evaluation.metrics import compute, metric
table = pa.table({"key": pa.array([1, 2], pa.uint64()), "label": ["a", "b"], "prediction": ["a", "a"],
                  "p_label": pa.array([.9, .2], pa.float32()), "confidence": pa.array([.9, .8], pa.float32())})
values = compute(table, ["accuracy", "f1_macro", "log_loss", "calibration_error"])
own = metric("f1_macro").compute(predictions=["a", "a"], references=["a", "b"])
import evaluate
script = "contender/evaluation/metrics/accuracy.py"
print(json.dumps({
    "values": values,
    "own": own,
    "home": os.listdir(os.environ["HOME"]),
    "same": issubclass(type(metric("recall")), evaluate.Metric),
    "local": evaluate.load(script).compute(predictions=["a"], references=["a"]) if len(sys.argv) > 1 else None,
}))
"""


def test_metrics_need_no_network_and_leave_nothing_at_home(tmp_path):
    """In a network namespace without interfaces where the kernel lets us, and with sockets that refuse in any case."""
    home = tmp_path / "home"
    home.mkdir()
    isolate = ["unshare", "-rn"] if _can_unshare() else []
    code = ALONE.replace(
        "import evaluate\n",
        "from contender.evaluation.metrics.base import evaluate_module\nevaluate = evaluate_module()\n",
    )
    done = subprocess.run(
        [*isolate, sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["values"]["accuracy"] == 0.5
    assert found["own"]["f1_macro"] == pytest.approx(1 / 3)
    assert found["same"]
    assert found["home"] == []


@pytest.mark.slow
def test_evaluate_itself_finds_the_same_class_and_loads_the_module_from_its_file(tmp_path):
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "load"], cwd=ROOT, capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["local"] == {"accuracy": 1.0}


def test_the_metrics_do_not_import_torch_or_transformers():
    code = (
        "import sys, contender.evaluation.metrics as m; m.metric('accuracy');"
        "print([name for name in ('torch', 'transformers', 'evaluate') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_million_outcomes_take_no_loop_over_rows():
    generator = np.random.default_rng(8)
    names = np.array([f"label {code}" for code in range(77)])
    labels = names[generator.integers(0, 77, 1_000_000)]
    sure = generator.random(1_000_000, np.float32)
    table = outcomes(labels, np.roll(labels, 1), p_label=sure, confidence=sure)
    started = time.process_time()
    compute(table, OF_CLASSES)
    assert time.process_time() - started < 3


def test_bad_outcomes_and_names_are_errors_that_say_so():
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        compute(outcomes(["a"], ["a"]), ["acuracy"])
    with pytest.raises(DataError, match="no rows"):
        compute(outcomes([], []), ["accuracy"])
    with pytest.raises(DataError, match="no label"):
        compute(outcomes([None], ["a"]), ["accuracy"])
    with pytest.raises(ModelError, match="1 values of p_label that are no numbers"):
        compute(outcomes(["a"], ["a"], p_label=[float("nan")]), ["log_loss"])
    with pytest.raises(UsageError, match="needs p_label"):
        compute(outcomes(["a"], ["a"]).drop_columns(["p_label"]), ["log_loss"])
    with pytest.raises(UsageError, match="needs confidence"):
        compute(outcomes(["a"], ["a"]).drop_columns(["confidence"]), ["calibration_error"])


def row_file(path, **columns):
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table, max_chunksize=2)
    return path


def test_slices_are_measured_each_on_its_own_rows(tmp_path):
    rows = row_file(
        tmp_path / "test.arrow", text=["x"] * 5, channel=["mail", "chat", "mail", None, "mail"], _key=list(range(5))
    )
    table = outcomes(["a", "a", "b", "a", "b"], ["a", "b", "b", "a", "a"])
    held = evaluate_set("test", rows, "d1", table, ["accuracy", "recall"], ["channel"])
    assert (held.rows, held.set_digest) == (5, "d1")
    assert held.metrics["accuracy"] == pytest.approx(0.6)
    assert list(held.slices["channel"]) == ["mail", "chat", "(no value)"]
    assert held.slices["channel"]["mail"] == pytest.approx({"rows": 3, "accuracy": 2 / 3, "recall": 0.75})
    assert held.slices["channel"]["chat"] == {"rows": 1, "accuracy": 0.0, "recall": 0.0}


def test_a_slice_column_that_is_not_there_is_named(tmp_path):
    rows = row_file(tmp_path / "test.arrow", text=["x"])
    with pytest.raises(DataError, match=r"test\.arrow has no column channel"):
        evaluate_set("test", rows, "d", outcomes(["a"], ["a"]), ["accuracy"], ["channel"])


def test_outcomes_of_other_rows_are_refused(tmp_path):
    rows = row_file(tmp_path / "test.arrow", channel=["x", "y"])
    with pytest.raises(DataError, match="has 2 rows, its outcomes 1"):
        evaluate_set("test", rows, "d", outcomes(["a"], ["a"]), ["accuracy"], ["channel"])


def test_a_column_of_ids_is_cut_to_its_most_frequent_values(tmp_path):
    rows = row_file(tmp_path / "test.arrow", id=["often"] * 3 + [f"i{n}" for n in range(197)])
    held = evaluate_set("test", rows, "d", outcomes(["a"] * 200, ["a"] * 200), ["accuracy"], ["id"])
    assert len(held.slices["id"]) == 50
    assert next(iter(held.slices["id"])) == "often"


def test_an_evaluation_id_changes_with_all_that_it_depends_on():
    base = {
        "release": "r",
        "champion": "c",
        "sets": {"test": "d"},
        "revisions": metric_revisions(["accuracy"]),
        "device": "cpu",
        "dtype": "fp32",
    }
    other = {
        "release": "s",
        "champion": None,
        "sets": {"test": "e"},
        "revisions": {"accuracy": 2},
        "device": "cuda",
        "dtype": "bf16",
    }
    ids = {evaluation_id(**base)} | {evaluation_id(**(base | {key: value})) for key, value in other.items()}
    assert len(ids) == 7
    assert evaluation_id(**base) == evaluation_id(**base)
    assert all(len(found) == 18 and found.startswith("e-") for found in ids)


def _can_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0
