"""`contender check --probe` through the command line, and what the run then says of the estimate."""

from __future__ import annotations

import json
import signal

import pytest
from desk import Desk, start, tickets

SOONER = ("--set", "promote.floors={accuracy: 0.1}")  # judges otherwise, and trains the same


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_says_how_far_off_the_estimate_of_its_training_was(desk: Desk) -> None:
    desk.drop("1.csv", tickets(900, seed=1))
    assert desk.run("check", str(desk.pipeline), "--json").document["estimate"] is None
    probed = desk.run("check", str(desk.pipeline), "--json", "--probe", *SOONER)
    found = probed.document["estimate"]
    assert probed.code == 0 and "in the training loop on cpu in fp32" in probed.shown
    assert (found["steps"], found["cost"], found["hours"]) == (186, None, found["seconds"] / 3600)
    assert not desk.registry.exists(), "nothing is written to the registry"

    took = desk.retrain().document["training"]
    assert took["estimate_error"] == pytest.approx(took["estimated_seconds"] / took["seconds"] - 1)
    assert abs(took["estimate_error"]) < 3, "of a training of a second, on a busy machine"

    desk.drop("2.csv", tickets(60, seed=2))
    assert "estimate_error" not in desk.retrain().document["training"], "that was another training"
    priced = desk.run("check", str(desk.pipeline), "--json", "--probe", "--set=resources.budget.price_per_hour=3600")
    assert priced.document["estimate"]["cost"] == pytest.approx(priced.document["estimate"]["seconds"])


@pytest.mark.slow
def test_a_probe_that_is_stopped_says_so_and_leaves_no_folder(desk: Desk) -> None:
    desk.drop("1.csv", tickets(900, seed=1))
    probe = start(desk, "--probe", command="check")
    # By name: a walk over all folders meets some that are just going away.
    while not [*desk.folder.glob(".contender/stages/estimate/.*/job/job.log")]:
        assert probe.poll() is None
    probe.send_signal(signal.SIGINT)
    out, shown = probe.communicate(timeout=60)
    assert (probe.returncode, json.loads(out)["outcome"]) == (130, "interrupted"), shown
    assert "Run the same command again" in shown
    assert [path.name for path in (desk.folder / ".contender" / "stages").iterdir() if any(path.iterdir())] == [
        "snapshot"
    ]
