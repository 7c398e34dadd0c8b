from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from contender.errors import DataError, Interrupted, TrainingFailed
from contender.training.launcher import Job, Progress, run_job
from contender.training.options import TrainOptions

LONG = {"epochs": 400, "early_stopping": 0, "batch_size": 4}  # minutes, so that only a signal ends it


def child_of(pid: int) -> psutil.Process:
    """The training process that `pid` started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            if "contender.training.job" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("no training process appeared")


def test_a_job_runs_in_a_child_and_tells_of_its_progress(make_job, tmp_path):
    job, told = make_job(epochs=4), []
    report = run_job(job, tmp_path / "job", on_progress=told.append)
    assert report.steps == 76
    assert (Path(job.output) / "model.safetensors").exists()
    steps = [progress.step for progress in told]
    assert steps == sorted(steps)
    assert told[-1].step == told[-1].steps == 76
    assert {"starting", "preparing", "training"} <= {progress.phase for progress in told}
    last = [progress for progress in told if progress.phase == "training"][-1]
    assert last.loss > 0
    assert last.examples_per_second > 0
    assert last.metrics["accuracy"] <= 1


def test_a_signal_leaves_a_checkpoint_and_the_next_run_ends_the_training(make_job, tmp_path):
    job = make_job(**LONG)
    handler = signal.getsignal(signal.SIGTERM)
    sent = []

    def interrupt(progress: Progress) -> None:
        if progress.step > 3 and not sent:
            sent.append(progress.step)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stop:
        run_job(job, tmp_path / "job", on_progress=interrupt)
    assert stop.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) == handler
    (checkpoint,) = (tmp_path / "job/checkpoints").iterdir()
    first: list[Progress] = []

    def once(progress: Progress) -> None:
        if progress.phase == "training" and not first:
            first.append(progress)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_job(job, tmp_path / "job", on_progress=once)
    assert first[0].step == int(checkpoint.name) >= sent[0]


def test_an_error_in_the_listener_ends_the_child(make_job, tmp_path):
    seen = []

    def fail(progress: Progress) -> None:
        seen.append(child_of(os.getpid()))
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="the listener broke"):
        run_job(make_job(**LONG), tmp_path / "job", on_progress=fail)
    assert not seen[0].is_running()


def test_what_the_child_found_wrong_is_the_error_of_the_run(make_job, tmp_path):
    with pytest.raises(DataError, match="fewer than two labels") as failure:
        run_job(make_job(labels=("red",)), tmp_path / "job")
    assert failure.value.exit_code == 4


def test_a_killed_child_is_a_failure_that_says_how(make_job, tmp_path):
    timer = threading.Timer(1.0, lambda: child_of(os.getpid()).kill())
    timer.start()
    with pytest.raises(TrainingFailed, match="was ended by signal SIGKILL") as failure:
        run_job(make_job(**LONG), tmp_path / "job")
    assert "job.log" in failure.value.fix


PARENT = """
import sys
from pathlib import Path
from contender.training.launcher import Job, run_job
run_job(Job.from_bytes(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), on_progress=lambda p: print(p.step, flush=True))
"""


def test_a_killed_parent_takes_its_child_with_it(make_job, tmp_path):
    (tmp_path / "parent.json").write_bytes(make_job(**LONG).to_bytes())
    command = [sys.executable, "-P", "-c", PARENT, str(tmp_path / "parent.json"), str(tmp_path / "job")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    child = child_of(parent.pid)
    assert parent.stdout.readline()
    parent.kill()
    parent.communicate()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert child.pid != os.getpid()


def test_the_values_on_the_wire_survive_it():
    job = Job(
        task="text-classification",
        base="/b",
        base_digest="0",
        method="full",
        columns={"text": "body", "label": "intent"},
        labels=("ä", "b\n"),
        options=TrainOptions(),
        primary_metric="accuracy",
        train="t",
        validation="v",
        output="o",
    )
    assert Job.from_bytes(job.to_bytes()) == job
