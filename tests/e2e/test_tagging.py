"""Named entities from CoNLL files to a release that answers, by the command line alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Ran
from tiny import FILLER

import contender

PIPELINE = """\
name: colours
task: token-classification
data: {{source: sentences/, split: {{test: 0.3, validation: 0.15, near_duplicates: null}}}}
model: {{base: {base}, method: full}}
train: {{epochs: 6, batch_size: 16, learning_rate: 5.0e-3, head_learning_rate: 5.0e-3, precision: fp32, early_stopping: 0}}
"""


def sentences(count: int, seed: int) -> str:
    dice = random.Random(seed)
    written = []
    for _ in range(count):
        lines = [f"{word}\tO" for word in dice.choices(FILLER, k=dice.randint(2, 6))]
        entity = ["red\tB-COL", "green\tI-COL"][: dice.randint(1, 2)]
        place = dice.randrange(len(lines))
        written.append("\n".join([*lines[:place], *entity, *lines[place:]]))
    return "\n\n".join(written) + "\n"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_sentences_become_a_release_that_finds_entities(
    command: Callable[..., Ran], tmp_path: Path, tiny_base: Path
) -> None:
    (tmp_path / "sentences").mkdir()
    (tmp_path / "sentences" / "one.conll").write_text(sentences(300, 1) + "\nthree\tO\tO\ncolumns\tO\n")
    (tmp_path / "sentences" / "two.jsonl").write_text('{"tokens": ["red", "word1"], "tags": ["B-COL"]}\n')
    spec = tmp_path / "colours.yaml"
    spec.write_text(PIPELINE.format(base=tiny_base))
    assert command("check", str(spec), "--json").code == 0
    ran = command("run", str(spec), "--json")
    assert ran.document["outcome"] == "promoted", ran.shown
    assert ran.document["metrics"]["entity_f1"] > 0.8
    quarantine = Path(ran.document["quarantine"]).read_text("utf-8")
    assert "words and tags of unequal number" in ran.shown and "a line has 3 columns" in quarantine
    page = Path(ran.document["report"]).read_text("utf-8")
    assert "Entity F1" in page and "Entities by type" in page and "Confusion" not in page
    pulled = tmp_path / "pulled"
    assert command("pull", f"{tmp_path}/.contender/registry/colours", str(pulled)).code == 0
    (answer,) = contender.load(pulled, device="cpu").predict(["word3 word4 red green"])
    assert [(entity.type, entity.text, entity.start) for entity in answer.entities] == [("COL", "red green", 12)]
