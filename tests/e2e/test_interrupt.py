"""Ctrl-C in the middle: a checkpoint, exit 75, and the same command continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from desk import Desk, tickets

from contender.records import TrainReport
from contender.workspace import Workspace


def start(desk: Desk, *more: str) -> subprocess.Popen[str]:
    script = Path(sys.executable).parent / "contender"
    command = [script, "run", str(desk.pipeline), "--json", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def until(run: subprocess.Popen[str], words: str) -> None:
    assert run.stderr is not None
    seen = []
    for line in run.stderr:
        seen.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never shown:\n{''.join(seen)}")


@pytest.mark.usefixtures("prefect_server")
def test_a_run_stopped_while_it_trains_continues_where_it_was(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    longer = ("--set", "train.epochs=120")
    run = start(desk, *longer)
    until(run, "loss")
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
