"""Ctrl-C and SIGTERM anywhere: one document, an exit code that says what was kept, and the same command continues."""

from __future__ import annotations

import json
import signal
import time

import psutil
import pytest
from desk import Desk, start, tickets, until, until_checkpoint

from contender.records import TrainReport
from contender.workspace import Workspace


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_stopped_while_it_trains_continues_where_it_was(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    longer = ("--set", "train.epochs=30", "--set", "resources.checkpoint.steps=20")
    run = start(desk, *longer)
    until_checkpoint(desk, run)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    document = json.loads(out)
    assert (run.returncode, document["outcome"]) == (75, "interrupted"), err
    assert "Traceback" not in err
    assert desk.run("releases", "desk", "--json").document["releases"] == []

    (job,) = (desk.folder / ".contender" / "jobs").iterdir()
    assert any(job.rglob("checkpoint.json")), "a checkpoint was kept"
    again = desk.retrain(*longer)
    assert (again.code, again.document["outcome"]) == (0, "promoted"), again.shown
    key = next(stage["key"] for stage in again.document["stages"] if stage["name"] == "train")
    trained = Workspace(desk.folder / ".contender").find("train", key, TrainReport)
    assert trained is not None
    assert trained.record.resumed_from_step > 0
    assert not job.exists(), "nothing is left of the job"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_at_its_budget_stops_with_5_decides_nothing_and_goes_on_once_that_is_raised(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    for _ in range(2):
        spent = desk.retrain("--set", "resources.budget.hours=1e-9")
        assert (spent.code, spent.document["outcome"]) == (5, "budget"), spent.shown
        assert "raise resources.budget" in spent.document["message"].lower()
        assert "Traceback" not in spent.shown
    assert desk.run("history", "desk", "--json").document.get("entries", []) == [], "there may not even be a registry"
    more = desk.retrain("--set", "resources.budget.hours=1")
    assert (more.code, more.document["outcome"]) == (0, "promoted"), more.shown
    key = next(stage["key"] for stage in more.document["stages"] if stage["name"] == "train")
    trained = Workspace(desk.folder / ".contender").find("train", key, TrainReport)
    assert trained is not None
    assert trained.record.resumed_from_step > 0


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("behind", "number"), [("✓ snapshot", signal.SIGTERM), ("✓ train", signal.SIGINT)])
def test_a_run_stopped_between_stages_says_so_and_keeps_them(desk: Desk, behind: str, number: signal.Signals) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    run = start(desk)
    until(run, behind)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    document = json.loads(out)
    assert (run.returncode, document["outcome"]) == (130, "interrupted"), err
    assert "Traceback" not in err
    assert desk.run("history", "desk", "--json").document.get("entries", []) == [], "there may not even be a registry"
    again = desk.retrain()
    assert (again.code, again.document["outcome"]) == (0, "promoted"), again.shown
    assert {stage["name"] for stage in again.document["stages"] if stage["cached"]} >= {behind.removeprefix("✓ ")}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_second_ctrl_c_is_not_waited_for(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    run = start(desk, "--set", "train.epochs=120", "--set", "resources.checkpoint.steps=20")
    until_checkpoint(desk, run)
    (trainer,) = [child for child in psutil.Process(run.pid).children() if "contender.training.job" in child.cmdline()]
    trainer.suspend()  # it cannot write its checkpoint
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert run.poll() is None, "the first one waits for the checkpoint"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, json.loads(out)["outcome"]) == (130, "interrupted"), err
    assert not trainer.is_running()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_of_two_runs_at_the_same_time_one_waits_and_finds_what_the_other_decided(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    first, second = start(desk), start(desk)
    answers = [run.communicate(timeout=200) for run in (first, second)]
    outcomes = sorted(json.loads(out)["outcome"] for out, _ in answers)
    assert outcomes == ["promoted", "up_to_date"], answers
    assert [first.returncode, second.returncode] == [0, 0]
    assert any("waiting for another run of this pipeline: process" in err for _, err in answers)
    history = desk.run("history", "desk", "--json").document
    assert [entry["n"] for entry in history["entries"]] == [1]
    assert len(history["decisions"]) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_may_be_skipped_leaves_its_data_to_the_next_one_behind_the_one_at_work(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    longer = ("--set", "train.epochs=30", "--set", "resources.checkpoint.steps=20")
    first = start(desk, *longer)
    until_checkpoint(desk, first)
    skipped = desk.retrain("--set", "concurrency=skip")
    assert (skipped.code, skipped.document["outcome"]) == (0, "skipped"), skipped.shown
    assert f"process {first.pid}" in skipped.document["message"]
    first.kill()
    first.communicate()
    again = desk.retrain()
    assert (again.code, again.document["outcome"]) == (0, "promoted"), (
        "a killed run holds nothing up, and no data was lost"
    )


def test_a_prefect_server_that_is_not_there_is_said(desk: Desk) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    run = start(desk, PREFECT_API_URL="http://127.0.0.1:9/api")
    out, err = run.communicate(timeout=120)
    document = json.loads(out)
    assert (run.returncode, document["outcome"]) == (1, "failed"), err
    assert "http://127.0.0.1:9/api" in document["error"]["what"]
    assert "unset PREFECT_API_URL" in document["error"]["fix"]
    assert "internal error" not in err
