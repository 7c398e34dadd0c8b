from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
import pytest
import torch
from fitting import train
from limits import files_of_at_most

from contender.errors import BudgetSpent, DataError, DiskFull, Interrupted, TrainingFailed, UsageError
from contender.files import describe_files
from contender.store import LocalStore
from contender.training.checkpoints import Checkpoints
from contender.training.energy import meter_of
from contender.training.launcher import Attempts, CheckpointOptions, Job, Limits, Progress, Running, run_job, start_here
from contender.training.options import Attempt, TrainOptions

NOTHING = Limits(seconds=3.6e-6)
LONG = {"epochs": 400, "early_stopping": 0, "batch_size": 4}  # minutes, so that only a signal ends it


def attempts(folder: Path) -> Attempts:
    return Attempts(LocalStore(folder), "k")


def child_of(pid: int) -> psutil.Process:
    """The training process that `pid` started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            with suppress(psutil.Error):  # it ended, or another test's child did and waits to be buried
                if "contender.training.job" in child.cmdline():
                    return child
        time.sleep(0.05)
    raise AssertionError("no training process appeared")


def test_a_job_runs_in_a_child_and_tells_of_its_progress(make_job, tmp_path):
    job, told = make_job(epochs=4), []
    report = run_job(job, tmp_path / "job", attempts(tmp_path), on_progress=told.append)
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


@pytest.mark.slow
def test_a_launcher_is_handed_all_that_the_process_sees_of_the_parent(make_job, tmp_path, monkeypatch):
    """The job's folder, the attempt, an environment: from another folder, and with no other environment, it is the same."""
    monkeypatch.setenv("ONLY_HERE", "1")
    handed = []

    def elsewhere(folder: Path, told: Attempt, log: IO[bytes], environment: Mapping[str, str]) -> Running:
        handed.append((folder, told.number))
        kept = {name: value for name, value in environment.items() if name in ("PATH", "PYTHONPATH", "HOME", "OURS")}
        (tmp_path / "elsewhere").mkdir()
        with monkeypatch.context() as there:
            there.chdir(tmp_path / "elsewhere")
            there.delenv("ONLY_HERE")
            return start_here(folder, told, log, kept)

    job, told = make_job(epochs=1), []
    report = run_job(
        job,
        tmp_path / "job",
        attempts(tmp_path),
        environment={"OURS": "yes"},
        on_progress=lambda progress: told.append(child_of(os.getpid()).environ() if not told else {}),
        launch=elsewhere,
    )
    assert handed == [(tmp_path / "job", 1)]
    assert (told[0]["OURS"], "ONLY_HERE" in told[0]) == ("yes", False)
    assert report.steps == 19 and (Path(job.output) / "model.safetensors").exists()
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_signal_leaves_a_checkpoint_and_the_next_run_ends_the_training(make_job, tmp_path):
    job = make_job(**LONG)
    handler = signal.getsignal(signal.SIGTERM)
    sent = []

    def interrupt(progress: Progress) -> None:
        if progress.step > 3 and not sent:
            sent.append(progress.step)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stop:
        run_job(job, tmp_path / "job", attempts(tmp_path), on_progress=interrupt)
    assert stop.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) == handler
    (checkpoint,) = (tmp_path / "job/checkpoints").iterdir()
    first: list[Progress] = []

    def once(progress: Progress) -> None:
        if progress.phase == "training" and not first:
            first.append(progress)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_job(job, tmp_path / "job", attempts(tmp_path), on_progress=once)
    assert first[0].step == int(checkpoint.name) >= sent[0]


def test_a_budget_stops_a_training_before_its_next_step_and_a_larger_one_ends_it(make_job, tmp_path):
    job = make_job(epochs=4)
    with pytest.raises(BudgetSpent, match=r"its budget of 1e-09 hours, and its checkpoint waits at step 1\b") as stop:
        run_job(job, tmp_path / "job", attempts(tmp_path), limits=NOTHING)
    assert stop.value.exit_code == 5
    assert "resources.budget" in stop.value.fix
    trained = []
    with pytest.raises(BudgetSpent, match=r"step 1\b"):
        run_job(job, tmp_path / "job", attempts(tmp_path), limits=NOTHING, on_progress=trained.append)
    assert "training" not in {progress.phase for progress in trained}, "nothing is left to spend"
    report = run_job(job, tmp_path / "job", attempts(tmp_path), limits=Limits(seconds=3600))
    assert (report.steps, report.resumed_from_step) == (76, 1)


@pytest.mark.slow
def test_a_training_that_may_end_at_its_budget_ends_with_the_best_so_far_and_a_larger_one_goes_on(make_job, tmp_path):
    job, told = make_job(epochs=4), []
    ends = NOTHING.model_copy(update={"ends_with_best": True})
    report = run_job(job, tmp_path / "job", attempts(tmp_path), limits=ends, on_progress=told.append)
    assert report.budget_spent and report.steps == 1 and 0 < report.epochs < 1
    assert "budget" in report.notes[-1] and "of 4 epochs" in report.notes[-1]
    assert report.best_metric is not None, "validation is asked before it ends"
    assert (Path(job.output) / "model.safetensors").exists()
    assert told[-1].seconds > 0
    whole = run_job(job, tmp_path / "job", attempts(tmp_path), limits=Limits(seconds=3600))
    assert (whole.steps, whole.resumed_from_step, whole.budget_spent) == (76, 1, False)
    undisturbed = make_job(epochs=4, output="undisturbed")
    run_job(undisturbed, tmp_path / "other", attempts(tmp_path / "others"))
    left, right = (Path(one.output) / "model.safetensors" for one in (job, undisturbed))
    assert left.read_bytes() == right.read_bytes(), "the look at its budget left no trace"


def test_a_budget_of_energy_is_refused_where_nothing_tells_it(make_job, tmp_path):
    if meter_of(torch.device("cpu")).source:
        pytest.skip("this processor tells what it draws")
    with pytest.raises(UsageError, match=r"kwh cannot be watched: the cpu here"):
        train(make_job(epochs=1), tmp_path / "job", limits=Limits(joules=1e9))


def test_an_error_in_the_listener_ends_the_child(make_job, tmp_path):
    seen = []

    def fail(progress: Progress) -> None:
        seen.append(child_of(os.getpid()))
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="the listener broke"):
        run_job(make_job(**LONG), tmp_path / "job", attempts(tmp_path), on_progress=fail)
    assert not seen[0].is_running()


def test_what_the_child_found_wrong_is_the_error_of_the_run(make_job, tmp_path):
    with pytest.raises(DataError, match="fewer than two labels") as failure:
        run_job(make_job(labels=("red",)), tmp_path / "job", attempts(tmp_path))
    assert failure.value.exit_code == 4


def killer(times: int, behind_checkpoint: bool) -> Callable[[Progress], None]:
    """Kills the training process of this process at its first steps, or behind its first new checkpoint, so often."""
    killed: list[int] = []

    def hear(progress: Progress) -> None:
        reached = progress.checkpoint is not None if behind_checkpoint else progress.phase == "training"
        if reached and len(killed) < times:
            child = child_of(os.getpid())
            if child.pid not in killed:
                killed.append(child.pid)
                child.kill()

    return hear


def test_a_killed_child_is_a_failure_that_says_how(make_job, tmp_path):
    with pytest.raises(TrainingFailed, match="was ended by signal SIGKILL") as failure:
        run_job(make_job(**LONG), tmp_path / "job", attempts(tmp_path), on_progress=killer(1, behind_checkpoint=False))
    assert "job.log" in failure.value.fix
    assert "continue from the beginning" in failure.value.fix


@pytest.mark.slow
def test_a_killed_child_is_continued_and_the_model_is_the_same(make_job, tmp_path):
    whole, killed = make_job(output="whole", epochs=12), make_job(output="killed", epochs=12)
    run_job(whole, tmp_path / "whole-job", attempts(tmp_path / "a"))
    told: list[str] = []
    report = run_job(
        killed,
        tmp_path / "killed-job",
        attempts(tmp_path / "b"),
        checkpoint=CheckpointOptions(steps=10),
        max_recoveries=2,
        on_progress=killer(2, behind_checkpoint=True),
        on_recovery=told.append,
    )
    assert (report.attempt, report.recoveries) == (3, 2)
    assert report.resumed_from_step >= 20
    assert "continuing from step 10 (recovery 1 of 2)" in told[0]
    assert describe_files(Path(whole.output)) == describe_files(Path(killed.output))


@pytest.mark.slow
def test_a_child_that_dies_at_the_same_point_each_time_is_given_up(make_job, tmp_path):
    told: list[str] = []
    with pytest.raises(TrainingFailed, match="died 3 times at the same point") as failure:
        run_job(
            make_job(**LONG),
            tmp_path / "job",
            attempts(tmp_path),
            max_recoveries=10,
            on_progress=killer(10, behind_checkpoint=False),
            on_recovery=told.append,
        )
    assert len(told) == 2
    assert "SIGKILL" in failure.value.what


@pytest.mark.slow
def test_a_child_that_lacks_memory_continues_with_fewer_examples_at_once(make_job, tmp_path):
    """A limit of the kernel's, so that torch's own allocator is what fails."""
    rows = [(" ".join(["red"] * 60), "red"), (" ".join(["blue"] * 60), "blue")] * 1024
    options = {"train": rows, "validation": rows[:8], "labels": ("blue", "red"), "epochs": 1, "early_stopping": 0}
    needed: list[int] = []

    def measure(progress: Progress) -> None:
        if progress.phase == "training" and progress.step and not needed:  # at its last words it may be gone
            status = Path(f"/proc/{child_of(os.getpid()).pid}/status").read_text()
            needed.append(int(status.split("VmData:")[1].split()[0]) * 1024)

    run_job(make_job(batch_size=8, **options), tmp_path / "small", attempts(tmp_path / "a"), on_progress=measure)
    job, told = make_job(batch_size=2048, output="large", **options), []
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (max(needed) + (256 << 20), hard))
    try:
        report = run_job(job, tmp_path / "large", attempts(tmp_path / "b"), on_recovery=told.append)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    assert report.steps == 1
    assert 1 <= report.micro_batch_size < 2048
    assert told[0] == "out of memory: continuing with 1024 examples at once, 2048 per step as before"
    assert report.recoveries == 0, "a want of memory is no crash"


PARENT = """
import sys
from pathlib import Path
from contender.store import LocalStore
from contender.training.launcher import Attempts, Job, run_job
job, folder = Job.from_bytes(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
run_job(job, folder, Attempts(LocalStore(folder.parent), "k"), on_progress=lambda p: print(p.step, flush=True))
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


@pytest.mark.slow
def test_a_job_whose_parent_was_killed_keeps_what_it_has_done(make_job, tmp_path):
    (tmp_path / "parent.json").write_bytes(make_job(**LONG).to_bytes())
    command = [sys.executable, "-P", "-c", PARENT, str(tmp_path / "parent.json"), str(tmp_path / "job")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    child = child_of(parent.pid)
    told = next(int(line) for line in parent.stdout if int(line) > 0)
    assert Checkpoints(tmp_path / "job" / "checkpoints", "").newest_step() is None, "none was due"
    parent.kill()
    parent.communicate()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert (Checkpoints(tmp_path / "job" / "checkpoints", "").newest_step() or 0) >= told


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


@pytest.mark.slow
# Too little for the weights; for the optimizer, whose writer is torch's.
@pytest.mark.parametrize("size", [80_000, 200_000])
def test_a_disk_that_fills_up_in_a_checkpoint_is_said_and_the_same_job_goes_on(make_job, tmp_path, size):
    job = make_job(epochs=2)
    with pytest.raises(DiskFull, match="no space left"), files_of_at_most(size):
        run_job(job, tmp_path / "job", attempts(tmp_path), checkpoint=CheckpointOptions(steps=5))
    report = run_job(job, tmp_path / "job", attempts(tmp_path), checkpoint=CheckpointOptions(steps=5))
    assert report.steps == 38
