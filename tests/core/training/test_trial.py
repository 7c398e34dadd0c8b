"""The trial behind `contender check --probe`: a training like the run's, ended early, that leaves its times and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from desk import PIPELINE, tickets, write_tickets
from fitting import train

from contender import stopping
from contender.check import Plan, check
from contender.errors import DataError, Interrupted, ModelError
from contender.loading import load_pipeline
from contender.store import LocalStore
from contender.training.launcher import Attempts, CheckpointOptions, Trial, run_job


@pytest.fixture
def desk(tmp_path: Path, tiny_base: Path) -> Path:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    return tmp_path


def probed(desk: Path, *overrides: str) -> Plan:
    return check(load_pipeline(desk / "desk.yaml", overrides), probe=True)


def left(desk: Path) -> list[str]:
    """What lies in the workspace beside the snapshot, the remembered digests and whole estimates."""
    found = (path.relative_to(desk / ".contender") for path in (desk / ".contender").rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[:2] != ("stages", "snapshot") and path.name != "files.json")


def test_a_trial_ends_after_its_epochs_with_their_times_and_no_model(make_job, tmp_path):
    job = make_job(epochs=50)
    trial = Trial(epochs=3, steps=1, least_seconds=0, most_seconds=60)
    report = train(job, tmp_path / "job", trial=trial)
    assert [(one.rows, one.steps, one.evaluated) for one in report.durations.epochs] == [(150, 19, 45)] * 3
    assert (report.epochs, report.steps, report.stopped_early) == (3, 57, False)
    for one in report.durations.epochs:
        assert 0 < one.after_first < one.seconds
        assert one.evaluation_seconds > 0
    times = sum(one.seconds + one.evaluation_seconds for one in report.durations.epochs)
    assert times <= report.seconds < times + 1
    assert 0 < report.durations.of_rows < report.durations.preparing
    assert not Path(job.output).exists()


@pytest.mark.slow
def test_a_trial_of_slow_steps_ends_in_its_first_epoch_and_checkpoints_are_no_part_of_its_times(make_job, tmp_path):
    trial = Trial(epochs=3, steps=7, least_seconds=0, most_seconds=0)
    report = run_job(
        make_job(epochs=50),
        tmp_path / "job",
        Attempts(LocalStore(tmp_path), "k"),
        checkpoint=CheckpointOptions(steps=1),
        trial=trial,
    )
    (epoch,) = report.durations.epochs
    assert (epoch.steps, report.steps, report.checkpoints) == (7, 7, 6)
    assert epoch.seconds + epoch.evaluation_seconds <= report.seconds - report.checkpoint_seconds


def test_an_estimate_is_made_once_for_each_training_and_told_from_then_on(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(900, seed=1))
    pipeline = load_pipeline(desk / "desk.yaml")
    assert check(pipeline).estimate is None
    first = probed(desk, "resources.budget={hours: 0.00001, price_per_hour: 36000}")
    found = first.estimate
    assert found is not None and found.seconds > 0
    assert (found.rows, found.steps, first.steps) == (495, 6 * 31, 6 * 31)
    assert found.cost == pytest.approx(found.seconds * 10)
    assert any("resources.budget" in warning for warning in first.warnings)
    assert found.text in dict(first.lines())["estimate"]
    assert len(left(desk)) == 2, "the stage's manifest and what the trial told"
    again = check(pipeline)
    assert again.estimate == found.at(None)
    assert probed(desk).estimate == again.estimate
    assert check(load_pipeline(desk / "desk.yaml", ("train.batch_size=8",))).estimate is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert check(pipeline).estimate is None, "of more cores"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert check(pipeline).estimate is not None
    write_tickets(desk / "tickets" / "2.csv", tickets(9, seed=2))
    assert check(pipeline).estimate is None


def test_without_rows_or_with_one_there_is_nothing_to_time(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", [])
    with pytest.raises(DataError, match="no rows"):
        probed(desk)
    write_tickets(desk / "tickets" / "1.csv", tickets(1, seed=1))
    with pytest.raises(DataError, match="label 'red'"):
        probed(desk)
    assert left(desk) == []


def test_a_base_that_is_not_there_is_refused_before_a_row_is_read(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(60, seed=1))
    with pytest.raises(ModelError, match="nowhere"):
        probed(desk, f"model.base={desk}/nowhere")
    assert not (desk / ".contender").exists()


def test_rows_that_the_gate_would_refuse_are_not_timed(desk: Path) -> None:
    (desk / "tickets" / "1.csv").write_text("body,colour\n" + "red word1,red\nblue word2,\n" * 40)
    with pytest.raises(DataError, match="label 'red'"):
        probed(desk)


def test_an_interrupted_probe_leaves_nothing(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(900, seed=1))

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not [*desk.glob(".contender/stages/estimate/.*/job/job.log")]:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    with stopping.stoppable(), pytest.raises(Interrupted) as stop:
        threading.Thread(target=interrupt, daemon=True).start()
        probed(desk)
    assert (stop.value.exit_code, stop.value.fix) == (130, "Run the same command again.")
    assert left(desk) == []
