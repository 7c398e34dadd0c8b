"""Killed anywhere, a run continues and comes to what an undisturbed one comes to: named points, random moments, twice in a row.

`make faults` plays many more. What every scenario asserts stands in fault_scenario.py, fault_checks.py and fault_watch.py.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from fault_campaign import drawn, of_points
from fault_lab import FUSE, ROOT, Lab
from fault_points import BY_NAME, POINTS, Fault
from fault_scenario import Moment, Scenario, run_scenario

from deployments.server import ServerInfo, client_environment

SCENARIOS = (
    of_points(BY_NAME["after the alias entry"]),
    of_points(BY_NAME["train: checkpoint not in place"]),
    of_points(BY_NAME["after the release's manifest"], start="champion"),
    of_points(BY_NAME["monitor: filled, no manifest"], BY_NAME["train: step 13"], start="champion"),
    of_points(BY_NAME["after the new rows' outcomes"], BY_NAME["after the observation"]),
    of_points(BY_NAME["before the split is frozen"]),
    of_points(BY_NAME["gate: its own process alone"]),
    of_points(BY_NAME["train: process alone, in a checkpoint"]),
    of_points(BY_NAME["train: parent alone, at a step"], at_once=True),
    of_points(BY_NAME["train: old checkpoint half removed"], BY_NAME["after train, job half removed"]),
    of_points(BY_NAME["train: step 13"], damage=True),
    of_points(BY_NAME["train: epoch's end, best kept"], BY_NAME["train: model half written"]),
    of_points(BY_NAME["release: mid-upload"], BY_NAME["after the ledger's look"], BY_NAME["before the alias entry"]),
    of_points(BY_NAME["before the evaluation's manifest"], BY_NAME["after the alias's copy"], start="champion"),
    Scenario("first", (Moment(0.35, "tree"), Moment(0.6, "process")), at_once=True),
    Scenario("champion", (Moment(0.5, "tree"),)),
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, background_server: ServerInfo) -> Iterator[Lab]:
    """Undisturbed runs, made once for all scenarios of the session, on the session's Prefect server."""
    server = client_environment(background_server) | {"CONTENDER_HOME": str(background_server.home)}
    yield Lab(tmp_path_factory.mktemp("faults") / "lab", server)


def held(lab: Lab, scenario: Scenario) -> None:
    outcome = run_scenario(lab, scenario)
    assert outcome.violations == [], f"{outcome.folder}: {outcome.violations}"
    assert outcome.kills == len(scenario.kills)
    assert outcome.looks > 10, "the alias was watched"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_run_killed_once_or_more_comes_to_what_an_undisturbed_one_does(lab: Lab, scenario: Scenario) -> None:
    held(lab, scenario)


# --- the harness itself

MOVES = """
import os
def first(): os.mkdir("a")
def second(): os.rename("a", "b")
first(); second(); os.mkdir("c")
"""


def killed_at(folder: Path, fault: Fault) -> tuple[int, set[str]]:
    """Runs MOVES as if it were the run, with the fault; its exit code, and the folders that it made."""
    (folder / "run").write_text(MOVES)
    told = asdict(fault) | {"marker": str(folder / "marker"), "checkpoints": str(folder / "none*")}
    environment = dict(os.environ) | {"PYTHONPATH": str(FUSE), "CONTENDER_FAULT": json.dumps(told)}
    done = subprocess.run([sys.executable, "run"], cwd=folder, env=environment, check=False, timeout=60)
    return done.returncode, {path.name for path in folder.iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (Fault("run", "os.rename", "^a -> b$"), {"a"}),
        (Fault("run", "os.rename", "^a -> b$", later=1), {"b"}),
        (Fault("run", "os.mkdir", "", occurrence=2), {"b"}),
        (Fault("run", "call", "run:second$"), {"a"}),
        (Fault("run", "return", "run:second$"), {"b"}),
    ],
)
def test_the_fuse_kills_at_exactly_its_point_and_once(tmp_path: Path, fault: Fault, left: set[str]) -> None:
    assert killed_at(tmp_path, fault) == (-signal.SIGKILL, left)
    for path in tmp_path.iterdir():
        if path.is_dir():
            path.rmdir()
    assert killed_at(tmp_path, fault) == (0, {"b", "c"}), "its marker is there: it killed already"


@pytest.mark.parametrize("fault", [Fault("train", "os.rename", ""), Fault("run", "os.rename", "^elsewhere")])
def test_the_fuse_leaves_alone_what_it_is_not_meant_for(tmp_path: Path, fault: Fault) -> None:
    assert killed_at(tmp_path, fault) == (0, {"b", "c"})
    assert not (tmp_path / "marker").exists()


def test_every_point_has_a_name_of_its_own_and_is_drawn() -> None:
    functions = {
        f"{path}:{node.name}"
        for package in ("contender", "deployments")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(BY_NAME) == len(POINTS) > 60
    for point in POINTS:
        pattern = re.compile(point.fault.path)
        if point.fault.event in ("call", "return"):
            assert any(pattern.search(function) for function in functions), (
                f"{point.name}: {pattern.pattern} is nowhere"
            )
    names = {kill.name for scenario in drawn(2 * len(POINTS), seed=1) for kill in scenario.kills}
    assert names >= BY_NAME.keys()
    assert list(drawn(20, seed=1)) == list(drawn(20, seed=1)) != list(drawn(20, seed=2))
