"""Two machines with one workspace under an S3 prefix: what one began, the other ends, with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk, start, tickets


@pytest.mark.usefixtures("prefect_server")
def test_a_run_killed_on_one_machine_is_ended_by_another(
    desk: Desk, s3_server: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = f"s3://{s3_server.bucket}/{tmp_path.name}"
    longer = ("--set", "train.epochs=40", "--set", "resources.checkpoint.steps=20")
    shared = ("--set", f"workspace={bucket}/work", "--set", f"promote.to={bucket}/registry")
    desk.drop("1.csv", tickets(600, seed=1))

    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "undisturbed"))
    whole = desk.retrain(*longer, "--set", f"promote.to={bucket}/other")
    assert whole.document["outcome"] == "promoted", whole.shown

    run = start(desk, *longer, *shared, CONTENDER_CACHE=str(tmp_path / "one"))
    from contender.store import open_store

    store = open_store(f"{bucket}/work")
    while not any("checkpoint.json" in info.key for info in store.list("jobs/")):
        assert run.poll() is None, run.communicate()
    run.kill()
    run.communicate()

    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "two"))
    again = desk.retrain(*longer, *shared)
    assert (again.code, again.document["outcome"]) == (0, "promoted"), again.shown
    cached = {stage["name"] for stage in again.document["stages"] if stage["cached"]}
    assert cached >= {"snapshot", "gate", "split"}
    assert again.document["training"]["resumed_from_step"] >= 20
    assert again.document["release"] == whole.document["release"], "the id digests the model's files"
    left = [info.key for info in store.list("jobs/")] + [info.key for info in store.list("records/jobs/")]
    assert left == []
