"""The same input gives the same output until a stage's revision says otherwise.

Where one of these digests changes on purpose, raise the stage's number in contender/plan.py: REVISIONS, and write the new one here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.data.split import split
from contender.plan import REVISIONS
from contender.quality.gate import check
from contender.quality.suites import load_suite
from contender.records import SplitDefinition, digest

ROWS = [
    f"ticket {n}: the parcel of order {n * 7919 % 1000} is {'late' if n % 3 else 'wet'},{'delay' if n % 3 else 'damage'}"
    for n in range(300)
]
SPOILT = [",delay", "   ,damage", "tick\ufffdet,delay", ROWS[0].replace("damage", "delay"), ROWS[1], "x,"]
COLUMNS = {"text": "body", "label": "kind"}
DEFINITION = SplitDefinition(key="text", test=0.2, validation=0.1, salt="00" * 8, normaliser=1)

GOLDEN = {
    "snapshot": (1, "0ac642ba1d275b98"),
    "gate": (2, "7ab7bbb1f20437c7"),
    "split": (1, "45becaf4563ba812"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot, its gate and its split, as the stages leave them."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "tickets.csv").write_text("\n".join(["body,kind", *ROWS, *SPOILT]) + "\n", encoding="utf-8")
    options = ReadOptions()
    seen = peek("tickets.csv", options, base=folder)
    ingest("tickets.csv", seen, options, folder / "source.arrow", base=folder, required=list(COLUMNS.values()))
    suite = load_suite("text_classification.yaml", folder)
    check(folder / "source.arrow", suite, COLUMNS, folder, suite_name="s", bad_rows="quarantine", max_bad_fraction=1.0)
    split(folder / "source.arrow", folder / "admitted.npy", COLUMNS, (), DEFINITION, {}, folder)
    return folder


def values(path: Path) -> str:
    return digest(open_rows(path).to_list())


def test_outputs_change_only_with_their_revision(folder: Path) -> None:
    admitted = np.load(folder / "admitted.npy")
    found = {
        "snapshot": values(folder / "source.arrow"),
        "gate": digest(admitted.tolist()),
        "split": digest([values(folder / f"{name}.arrow") for name in ("train", "validation", "test")]),
    }
    assert {stage: (REVISIONS[stage], of[:16]) for stage, of in found.items()} == GOLDEN
