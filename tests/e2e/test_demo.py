"""The demo as `make demo` runs it, both fine-tunes included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_tells_its_whole_story_and_leaves_nothing_to_be_done(tmp_path: Path) -> None:
    environment = os.environ | {"CONTENDER_HOME": str(tmp_path / "home")}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-P", "-m", "deployments.demo", "--folder", str(tmp_path / "demo")]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400, check=False)
    finally:
        stop = [sys.executable, "-P", "-m", "deployments.cli", "up", "--stop"]
        subprocess.run(stop, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("Drop 4: nothing new", "By chance alone", "2026-11.jsonl row", "What to type next"):
        assert said in done.stdout
    entries = sorted((tmp_path / "demo/registry/support-desk/aliases/production").iterdir())
    assert len(entries) == 2
