"""schemathesis: whatever fits the OpenAPI document, or does not, is answered as the document says, and starts nothing unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gateways import MemoryPrefect, a_pipeline, basic, listening

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_named")]


@pytest.mark.parametrize("believed", [True, False])
def test_every_answer_is_as_the_document_says(tmp_path: Path, believed: bool) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", per_minute=100_000))
    (tmp_path / "schemathesis.toml").write_text('parameters = { pipeline = "one" }\n')
    line = [sys.executable, "-P", "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    options = ["--checks", "all", "--max-examples", "150", "--no-color", "--seed", "17"]
    if believed:
        options += ["--header", f"Authorization: {basic()['authorization']}"]
    with listening(prefect, tmp_path / "journal.db") as port:
        document = f"http://127.0.0.1:{port}/openapi.json"
        environment = dict(os.environ) | {"PYTHONUTF8": "1"}
        done = subprocess.run(
            [*line, document, *options], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 selected / 5 total" in done.stdout and bool(prefect.runs) == believed, done.stdout
