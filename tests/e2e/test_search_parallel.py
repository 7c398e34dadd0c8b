"""Trials side by side, through the command line: that they are, what stops them, and that they come to the same afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from desk import Desk, start, tickets, until

from contender.loading import load_pipeline
from contender.run import open_run
from contender.searching import TriedTrial
from contender.sidebyside import side_by_side
from contender.stages.base import find_base
from contender.stages.data import check_quality, look, split_rows, take_snapshot
from contender.stages.search import forget_models, generation, try_next

SPACE = {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "train.batch_size": [8, 16]}
SEARCH = ("--set", f"search={json.dumps({'trials': 4, 'space': SPACE})}", "--set", "resources.parallel=2")


def trials(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in document["search"]["trials"]]


def written(desk: Desk) -> int:
    return len([*(desk.folder / ".contender" / "stages" / "trial").glob("[!.]*/trial.json")])


def checkpoints(desk: Desk) -> set[str]:
    """Jobs that have one."""
    return {path.parts[-4] for path in (desk.folder / ".contender").glob("jobs/*/checkpoints/*/checkpoint.json")}


def two_at_work(run: subprocess.Popen[str], desk: Desk) -> list[psutil.Process]:
    """The processes of two trainings at the same time, each with a checkpoint already."""
    while True:
        assert run.poll() is None, run.communicate()
        found = []
        for process in psutil.Process(run.pid).children():
            try:
                if "contender.training.job" in process.cmdline():
                    found.append(process)
            except psutil.Error:  # it ended meanwhile
                continue
        folders = {Path(process.cmdline()[4]).name for process in found if process.is_running()}
        if len(folders & checkpoints(desk)) == 2:
            return found
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)  # eight trainings in four runs, on cores that others may keep busy
@pytest.mark.usefixtures("prefect_server")
def test_two_trials_at_once_stop_together_and_come_to_what_an_undisturbed_search_comes_to(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    options = (*SEARCH, "--set", "train.epochs=8", "--set", "resources.checkpoint.steps=5")
    run = start(desk, *options)
    until(run, "✓ split")
    children = two_at_work(run, desk)
    assert [child.environ()["OMP_NUM_THREADS"] for child in children] == ["1", "1"]
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[0]
    assert (run.returncode, json.loads(said)["outcome"]) == (75, "interrupted")
    assert not any(child.is_running() for child in children)
    assert len(checkpoints(desk)) == 2 and not written(desk)

    run = start(desk, *options)
    until(run, "✓ split")
    while written(desk) < 2:
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    children = two_at_work(run, desk)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    psutil.wait_procs(children, timeout=20)
    assert not any(child.is_running() for child in children)

    done = desk.retrain(*options)
    assert (done.code, len(done.document["search"]["trials"])) == (0, 4), done.shown
    undisturbed = desk.retrain(*options, "--set", "workspace=elsewhere/", "--set", "promote.to=other/")
    assert trials(undisturbed.document) == trials(done.document)
    assert undisturbed.document["release"] == done.document["release"]


@pytest.mark.slow
def test_trials_that_train_the_same_wait_for_each_other_and_the_best_model_stays(desk: Desk) -> None:
    """Another value of an option that is the spec's own, or the same one twice: one training, found by the others."""
    desk.drop("1.csv", tickets(240, seed=1))
    search = {"method": "random", "trials": 3, "space": {"train.batch_size": [16]}, "prune": "none"}
    pipeline = load_pipeline(desk.pipeline, ("train.epochs=2", f"search={json.dumps(search)}"))
    run = open_run(pipeline, actor="")
    base, snapshot = find_base(run), take_snapshot(run, look(run))
    split = split_rows(run, snapshot, check_quality(run, snapshot, None))
    beside = generation(run, [], 3)
    assert beside == [(), ({},), ({}, {"train.batch_size": 16})]
    tried: list[TriedTrial] = side_by_side([partial(try_next, run, (base,), split, (), one) for one in beside], 3)
    assert [trial.number for trial in tried] == [1, 2, 3]
    assert len({(trial.model, trial.score, trial.state) for trial in tried}) == 1
    forget_models(run, (), tried)
    assert run.workspace.stage_folder("train", str(tried[0].model)).is_dir()
