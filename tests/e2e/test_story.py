"""One pipeline's life through the command line: a first champion, a better one, bad data, nothing new, an edited rule."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from desk import COLOURS, Desk, Ran, tickets

KEYS = {
    "pipeline", "outcome", "message", "snapshot", "release", "champion", "alias_entry", "metrics", "evaluations", "evaluation", "verdict",
    "training", "compression", "selection", "search", "cross_validation", "monitoring",
    "seconds", "stages", "flow_run_id", "report", "quarantine", "conflicts", "data_docs", "registry",
}  # fmt: skip
STAGES = ["snapshot", "gate", "split", "train", "release", "evaluate", "judge", "explain", "latency"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_pipelines_life(desk: Desk, tmp_path: Path) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))  # labels at random: whatever is learnt later is better
    first = desk.retrain()
    assert (first.code, first.document["outcome"], first.document["alias_entry"]) == (0, "promoted", 1)
    assert set(first.document) == KEYS
    assert [stage["name"] for stage in first.document["stages"]] == STAGES
    assert first.document["metrics"] == first.document["evaluations"]["test"]["challenger"]
    page = Path(first.document["report"]).read_text()
    assert page.startswith("<!doctype html>") and "The challenger said <b>" in page
    took = first.document["training"]
    assert "overfitting" in took
    assert (took["device_hours"] > took["seconds"] / 3600, took["devices"], took["cost"]) == (True, 1, None)

    again = desk.retrain()
    assert (again.code, again.document["outcome"], again.document["stages"]) == (0, "up_to_date", [])

    desk.drop("2.csv", tickets(900, seed=2))
    second = desk.retrain()
    assert (second.code, second.document["outcome"], second.document["alias_entry"]) == (0, "promoted", 2), second.shown
    assert second.document["champion"] == first.document["release"]
    (rule,) = [rule for rule in second.document["verdict"]["rules"] if rule["p_value"] is not None]
    assert rule["p_value"] <= rule["alpha"] < 0.05
    scored = champion_was_scored_before_training(desk, first, second)

    bad = desk.drop("3.csv", [("", "red")] * 300 + [("word1 word2", "mauve")] * 100)
    third = desk.retrain()
    assert (third.code, third.document["outcome"]) == (4, "rejected_data")
    assert "3.csv" in Path(third.document["quarantine"]).read_text()
    assert desk.run("verify", "desk", "--json").document["release"] == second.document["release"]

    bad.unlink()
    fourth = desk.retrain()
    assert (fourth.code, fourth.document["outcome"]) == (0, "up_to_date")

    priced = "resources.budget.price_per_hour=3.5"
    floored = desk.retrain("--set", "promote.floors={accuracy: 0.999999}", "--set", priced)
    took = floored.document["training"]
    assert (
        took["cost"] == pytest.approx(3.5 * took["device_hours"])
        and "in the currency of the price" in Path(floored.document["report"]).read_text()
    )
    assert (floored.code, floored.document["outcome"], floored.document["monitoring"]) == (3, "kept", None)
    cached = {stage["name"] for stage in floored.document["stages"] if stage["cached"]}
    assert cached >= {"snapshot", "split", "train"}, "an edited floor trains nothing"

    history = desk.run("history", "desk", "--json").document
    assert [entry["n"] for entry in history["entries"]] == [1, 2]
    assert history["monitoring"] == [scored], "no row was scored again"
    assert [decision["outcome"] for decision in history["decisions"]] == [
        "promoted",
        "promoted",
        "rejected_data",
        "kept",
    ]

    pulled = tmp_path / "pulled"
    assert desk.run("pull", "desk@production", str(pulled), "--json").document["release"] == second.document["release"]
    assert desk.run("verify", str(pulled)).code == 0
    assert predicts(pulled, "word1 red word2") in COLOURS

    (pulled / "model.safetensors").write_bytes(b"damage")
    damaged = desk.run("verify", str(pulled))
    assert (damaged.code, "model.safetensors" in damaged.shown) == (1, True)


def champion_was_scored_before_training(desk: Desk, first: Ran, second: Ran) -> Any:
    """The observation of the second run: the first champion, on all rows that are about to train for the first time."""
    assert first.document["monitoring"] is None and "monitor" not in first.shown, "there was no champion"
    names = [stage["name"] for stage in second.document["stages"]]
    assert names == ["snapshot", "gate", "split", "monitor", *STAGES[3:]]
    listed = desk.run("releases", "desk", "--json").document["releases"]
    trained = {one["release"]: one["lineage"]["rows"]["train"] for one in listed}
    old, new = (trained[ran.document["release"]] for ran in (first, second))
    scored = second.document["monitoring"]
    assert (scored["n"], scored["champion"], scored["alias_entry"]) == (1, first.document["release"], 1)
    assert (scored["rows"], scored["unknown_labels"]) == (new - old, 0)
    assert scored["metrics"]["accuracy"] < second.document["metrics"]["accuracy"]
    sections = re.findall('<section id="([a-z]+)"', Path(second.document["report"]).read_text())
    assert {"confusion", "calibration", "latency", "history", "monitoring"} <= {*sections}
    assert "the champion on new rows" in desk.run("history", "desk").shown
    return scored


def predicts(folder: Path, text: str) -> str:
    from transformers import pipeline

    return str(pipeline("text-classification", model=str(folder))(text)[0]["label"])


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_what_a_console_script_prints_is_one_document(desk: Desk) -> None:
    """As a process of its own, from a folder with names like ours, where Ctrl-C and tracebacks would show."""
    desk.drop("1.csv", tickets(120, seed=1))
    for name in ("tasks.py", "flows.py", "evaluate.py", "datasets.py"):
        (desk.folder / name).write_text("raise SystemExit('a module of the user was imported')\n")
    script = Path(sys.executable).parent / "contender"
    done = subprocess.run(
        [script, "run", "desk.yaml", "--json"],
        cwd=desk.folder,
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "promoted"
    assert "\x1b[" not in done.stderr
    assert "Traceback" not in done.stderr
