"""A run on a machine with GPUs takes one of them, for itself and before others, and gives it back whatever happens."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from desk import Desk, start, tickets
from gpus import A, B, fake_driver
from prefect.client.orchestration import get_client

from contender.turn import Lock


def used(gpu: str) -> int:
    """Slots of the device's Prefect limit that are taken."""
    with get_client(sync_client=True) as client:
        return int(client.read_global_concurrency_limit_by_name(f"gpu:{gpu}").active_slots)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_training_sees_the_one_gpu_that_its_run_holds(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "cache"))
    taken = Lock(f"gpu-{A}")
    assert taken.take()
    desk.drop("1.csv", tickets(600, seed=1))
    longer = ("--set", "train.epochs=60", "--set", "resources.checkpoint.steps=20")
    path = {"PATH": f"{fake_driver(tmp_path / 'bin')}:{os.environ['PATH']}"}
    run = start(desk, *longer, **path)
    while not list((desk.folder / ".contender").glob("jobs/*/checkpoints/*/checkpoint.json")):
        assert run.poll() is None, run.communicate()
    (training,) = [p for p in psutil.Process(run.pid).children() if "contender.training.job" in p.cmdline()]
    environment = training.environ()
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["CUDA_DEVICE_ORDER"]) == (B, "PCI_BUS_ID")
    assert used(B) == 1
    run.kill()
    run.communicate()
    monkeypatch.setenv("PATH", path["PATH"])
    again = desk.retrain(*longer)
    assert (again.code, again.document["outcome"]) == (0, "promoted"), again.shown
    assert used(B) == 0
    assert "waiting for a GPU" not in again.shown, "what the killed run left was given back"
