"""Texts with any number of labels from a file to a release that answers, by the command line alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Ran
from tiny import COLOURS, FILLER

import contender

PIPELINE = """\
name: topics
task: multi-label-classification
data:
  source: messages/
  columns: {{text: body, labels: topics}}
  split: {{test: 0.3, validation: 0.15, near_duplicates: null}}
model: {{base: {base}, method: head}}
train: {{epochs: 4, batch_size: 32, precision: fp32}}
quality: {{max_bad_fraction: 0.1}}
"""


def messages(count: int, seed: int) -> str:
    dice = random.Random(seed)
    lines = []
    for _ in range(count):
        topics = [colour for colour in COLOURS if dice.random() < 0.4]
        words = [*dice.choices(FILLER, k=4), *topics]
        dice.shuffle(words)
        dice.shuffle(topics)
        lines.append(json.dumps({"body": " ".join(words), "topics": topics}))
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_lists_of_labels_become_a_release_that_answers_with_lists(
    command: Callable[..., Ran], tmp_path: Path, tiny_base: Path
) -> None:
    (tmp_path / "messages").mkdir()
    (tmp_path / "messages" / "one.jsonl").write_text(messages(300, 1))
    (tmp_path / "messages" / "two.csv").write_text(
        'body,topics\nword1 red,"[""red""]"\nword2 word1,[]\nword3,red\nword4,"[""""]"\n'
    )
    spec = tmp_path / "topics.yaml"
    spec.write_text(PIPELINE.format(base=tiny_base))
    ran = command("run", str(spec), "--json")
    assert ran.document["outcome"] == "promoted", ran.shown
    assert set(ran.document["metrics"]) == {"f1_micro", "f1_macro_labels", "accuracy"}
    quarantine = Path(ran.document["quarantine"]).read_text("utf-8")
    assert "no list of labels" in quarantine
    assert len(quarantine.splitlines()) == 3, quarantine
    page = Path(ran.document["report"]).read_text("utf-8")
    assert "Labels, each by itself" in page
    assert "Confusion" not in page
    pulled = tmp_path / "pulled"
    assert command("pull", f"{tmp_path}/.contender/registry/topics", str(pulled)).code == 0
    (answer,) = contender.load(pulled, device="cpu").predict(["word3 word4 red green"])
    assert set(answer.scores) == set(COLOURS)
    assert answer.labels == tuple(sorted(label for label, score in answer.scores.items() if score >= 0.5))
    (tmp_path / "messages" / "three.jsonl").write_text(messages(200, 2))
    again = command("run", str(spec), "--json", "--set", "train.epochs=6")
    assert again.document["outcome"] in ("promoted", "kept", "inconclusive"), again.shown
    assert again.document["champion"] is not None
