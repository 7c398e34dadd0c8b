from __future__ import annotations

import json
from pathlib import Path

import pytest
from fitting import train, weights

from contender.training.options import Job

SHORT = [("red", "red"), ("green", "green"), ("blue", "blue")] * 8
LONG = [
    ("red word1 word2 word3 word4 word5 word6 word7 word8 word9 word10", "red"),
    ("blue", "blue"),
    ("green", "green"),
]
LABELS = ("blue", "green", "red")
FROZEN = {"learning_rate": 1e-30, "head_learning_rate": 1e-30, "epochs": 1, "weight_decay": 0}


@pytest.fixture
def first(make_job, tmp_path: Path) -> Path:
    """A release of short texts, as a fetch leaves it."""
    job = make_job(train=SHORT, validation=[], labels=LABELS, output="first", epochs=1)
    train(job, tmp_path / "first-job")
    (tmp_path / "first/contender.json").write_text("{}")
    return Path(job.output)


def second(make_job, tmp_path: Path, base: Path, labels: tuple[str, ...]) -> Job:
    rows = [(text, dict(zip(LABELS, labels, strict=True))[label]) for text, label in LONG]
    job = make_job(train=rows, validation=[], labels=labels, base=base, output="second", **FROZEN)
    train(job, tmp_path / "second-job")
    return job


def test_a_release_as_base_reads_longer_texts_than_it_was_trained_on(make_job, tmp_path, first):
    def cut(folder: str | Path) -> int:
        return json.loads((Path(folder) / "tokenizer_config.json").read_text())["model_max_length"]

    job = second(make_job, tmp_path, first, LABELS)
    assert (cut(first), cut(job.output)) == (8, 16)
    name = "classifier.weight"  # the same labels: it goes on from where the first one was
    assert bool((weights(first)[name] == weights(job.output)[name]).all())


def test_the_head_of_as_many_other_labels_is_drawn_anew(make_job, tmp_path, first):
    job = second(make_job, tmp_path, first, ("cold", "mild", "warm"))
    before, after = (weights(folder)["classifier.weight"] for folder in (first, job.output))
    assert not bool((before == after).any())
