"""The Prefect server of a run goes away in the middle of it: what was decided stands in the registry, whatever the server knows."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, start, tickets, until

from deployments.server import ensure_server, stop_server

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a background server that belongs to this test alone."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path / "home"))
    ensure_server(tmp_path / "home")
    yield tmp_path / "home"
    stop_server(tmp_path / "home")


def without_server(desk: Desk, home: Path, **environment: str) -> subprocess.Popen[str]:
    """A run whose server was just stopped behind the split."""
    desk.drop("1.csv", tickets(240, seed=1))
    run = start(desk, **environment)
    until(run, "✓ split")
    assert stop_server(home)
    return run


def test_a_server_that_is_away_for_a_while_ends_no_run(desk: Desk, home: Path) -> None:
    run = without_server(desk, home)
    time.sleep(10)
    ensure_server(home)
    out, err = run.communicate(timeout=200)
    assert (run.returncode, json.loads(out)["outcome"]) == (0, "promoted"), err
    assert "! " not in err, "nobody need know"


def test_a_server_that_stays_away_takes_nothing_from_a_run_but_its_end_in_the_ui(desk: Desk, home: Path) -> None:
    run = without_server(desk, home, PREFECT_CLIENT_MAX_RETRIES="1")  # else each question to it takes a minute
    out, err = run.communicate(timeout=300)
    document = json.loads(out)
    assert (run.returncode, document["outcome"]) == (0, "promoted"), err
    assert document["alias_entry"] == 1 and "judge" in [stage["name"] for stage in document["stages"]]
    assert "its UI does not know how this run ended" in err
    assert "Traceback" not in err
    assert "failed to process item" not in err, "whole events, on the terminal of a user"
    again = start(desk)
    out, err = again.communicate(timeout=100)
    assert (again.returncode, json.loads(out)["outcome"]) == (0, "up_to_date"), err
