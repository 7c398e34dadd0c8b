"""Cross-validation through the command line: what it leaves, and that the release is what it is without."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk, tickets

SHORT = ("--set", "train.epochs=2", "--set", "report.examples=none")
FOLDS = (*SHORT, "--set", "cross_validation.folds=3")
ELSEWHERE = (*SHORT, "--set", "workspace=elsewhere/", "--set", "promote.to=other/")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("prefect_server")
def test_three_folds_are_scored_and_the_same_model_is_released_as_without(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    ran = desk.retrain(*FOLDS, "--set", "resources.parallel=2")
    assert (ran.code, ran.document["outcome"]) == (0, "promoted"), ran.shown
    found = ran.document["cross_validation"]
    scores = [fold["metrics"]["accuracy"] for fold in found["folds"]]
    assert len(scores) == 3
    assert found["spreads"]["accuracy"]["mean"] == pytest.approx(sum(scores) / 3)
    assert "Over 3 folds accuracy is" in ran.shown
    names = [stage["name"] for stage in ran.document["stages"]]
    assert names.index("cross-validate") == names.index("train") - 1
    page = Path(ran.document["report"]).read_text()
    assert 'id="folds"' in page and "Over 3 folds accuracy is" in page
    seconds = sum(fold["seconds"] for fold in found["folds"]) + ran.document["training"]["seconds"]
    assert ran.document["training"]["device_hours"] > seconds / 3600, "what the folds took is paid for too"

    again = desk.retrain(*FOLDS, "--set", "promote.floors.accuracy=0.1")
    assert again.document["cross_validation"] == found
    assert {stage["name"]: stage["cached"] for stage in again.document["stages"]}["cross-validate"]

    plain = desk.retrain(*ELSEWHERE)
    assert plain.document["release"] == ran.document["release"] and plain.document["cross_validation"] is None
    assert plain.document["metrics"] == ran.document["metrics"]


@pytest.mark.usefixtures("prefect_server")
def test_more_folds_than_keys_end_the_run_before_anything_is_trained(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    lines = (desk.folder / "tickets" / "1.csv").read_text().splitlines()
    owned = [f"{line},owner {number % 9}" for number, line in enumerate(lines[1:])]
    (desk.folder / "tickets" / "1.csv").write_text("\n".join([f"{lines[0]},owner", *owned]) + "\n")
    ran = desk.retrain("--set", "cross_validation.folds=20", "--set", "data.split.key=owner")
    assert (ran.code, ran.document["outcome"]) == (4, "rejected_data")
    assert "cross_validation.folds is 20, and the rows of train and validation have" in ran.document["message"]
    assert "Lower cross_validation.folds" in ran.shown
