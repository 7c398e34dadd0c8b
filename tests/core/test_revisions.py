"""The same input gives the same output until a stage's revision says otherwise.

Where one of these digests changes on purpose, raise the stage's number in contender/plan.py: REVISIONS, and write the new one here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contender.data.source import ReadOptions, ingest, open_rows, peek
from contender.data.split import split
from contender.evaluation.evaluate import evaluate_set
from contender.judging.held_out import HeldOut
from contender.judging.judge import judge
from contender.judging.rules import Rules
from contender.names import LABEL_METRICS
from contender.plan import REVISIONS
from contender.quality.gate import check
from contender.quality.suites import load_suite
from contender.records import SplitDefinition, digest
from contender.verdict import Look

ROWS = [
    f"ticket {n}: the parcel of order {n * 7919 % 1000} is {'late' if n % 3 else 'wet'},{'delay' if n % 3 else 'damage'}"
    for n in range(300)
]
SPOILT = [",delay", "   ,damage", "tick\ufffdet,delay", ROWS[0].replace("damage", "delay"), ROWS[1], "x,"]
COLUMNS = {"text": "body", "label": "kind"}
DEFINITION = SplitDefinition(key="text", test=0.2, validation=0.1, salt="00" * 8, normaliser=1)


def outcomes(right: int) -> pa.Table:
    """300 rows of three labels, of which a model has all right but every `right`-th."""
    labels = [f"l{n % 3}" for n in range(300)]
    taken = [f"l{(n + (n % right == 0)) % 3}" for n in range(300)]
    sure = [0.5 + (n * 37 % 50) / 100 for n in range(300)]
    return pa.table(
        {
            "key": pa.array(range(300), pa.uint64()),
            "label": labels,
            "prediction": taken,
            "p_label": pa.array(
                [p if a == b else (1 - p) / 2 for a, b, p in zip(labels, taken, sure, strict=True)], pa.float32()
            ),
            "confidence": pa.array(sure, pa.float32()),
            "row": pa.array(range(300), pa.int64()),
        }
    )


def rounded(value: Any) -> Any:
    """Six digits of every number: the last ones may differ between machines."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


GOLDEN = {
    "snapshot": (1, "0ac642ba1d275b98"),
    "gate": (3, "7ab7bbb1f20437c7"),
    "split": (2, "075c1cfab75ae017"),
}
# The numbers of metrics and verdicts, wording of the verdicts included.
JUDGED = {"evaluate": (1, "50f0aad71c92abe4"), "judge": (3, "4d98f143042c036d")}


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
    report = split(folder / "source.arrow", folder / "admitted.npy", COLUMNS, (), DEFINITION, {}, folder, 0.7)
    assert report.removed_near_duplicates
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


def test_metrics_and_verdicts_change_only_with_their_revision(tmp_path: Path) -> None:
    evaluation = evaluate_set("test", tmp_path / "unread.arrow", "0", outcomes(7), LABEL_METRICS, ())
    floors = {"accuracy": 0.8, "log_loss": 2.0}
    rules = Rules.model_validate({"primary": "accuracy", "floors": floors, "versus": {"min_gain": 0.01}})
    look = Look(set="test", generation=1, look=1, alpha=0.03, spent=0.6, units=24)

    def held(ours: int, theirs: int | None) -> HeldOut:
        return HeldOut(outcomes(ours), outcomes(theirs) if theirs else None, look=look)

    verdicts = [
        judge(rules, {"test": held(ours, theirs)}, judged_against=1).model_dump(mode="json")
        for ours, theirs in ((20, 4), (4, 20), (9, 10), (5, None), (4, None))
    ]
    assert [verdict["verdict"] for verdict in verdicts] == ["PROMOTE", "KEEP", "INCONCLUSIVE", "PROMOTE", "KEEP"]
    found = {
        "evaluate": (REVISIONS["evaluate"], digest(rounded(evaluation.metrics))[:16]),
        "judge": (REVISIONS["judge"], digest(rounded(verdicts))[:16]),
    }
    assert found == JUDGED
