"""The examples of docs/webhooks.md, run as they stand there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gateways import SECRETS, MemoryPrefect, a_pipeline, listening
from snippets import blocks

pytestmark = pytest.mark.usefixtures("prefect_named")
EXAMPLES = {block.marks["tested"]: block.text for block in blocks("docs/webhooks.md") if "tested" in block.marks}


def test_every_scheme_has_an_example() -> None:
    assert set(EXAMPLES) == set(SECRETS)


@pytest.mark.parametrize("scheme", EXAMPLES)
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="curl or openssl is not installed")
def test_an_example_of_the_page_is_taken(tmp_path: Path, scheme: str) -> None:
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", scheme))
    with listening(prefect, tmp_path / "journal.db") as port:
        given = {"GATEWAY": f"http://127.0.0.1:{port}", "PIPELINE": "one", "HOOK_SECRET": SECRETS[scheme]}
        script = f"set -e\n{EXAMPLES[scheme]}"
        done = subprocess.run(
            ["bash", "-c", script], env=os.environ | given, capture_output=True, text=True, check=True
        )
    assert json.loads(done.stdout)["outcome"] == "accepted", done.stdout
