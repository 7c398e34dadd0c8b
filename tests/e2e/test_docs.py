"""The pages as a reader follows them: the tutorial on its own data, then the how-tos in the folder that it leaves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from snippets import HERE, RUN_BY, reader, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TUTORIAL = "docs/tutorial.md"


@dataclass(frozen=True)
class Followed:
    """What somebody has who followed the tutorial."""

    folder: Path
    environment: dict[str, str]
    shown: str
    processor_seconds: float


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    home = tmp_path_factory.mktemp("reader")
    environment = reader(home)
    (home / "desk").mkdir()
    before = os.times()
    try:
        shown = run(TUTORIAL, home / "desk", environment)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        yield Followed(home / "desk", environment, shown, spent)
    finally:
        stop = ["contender", "up", "--stop", "--force"]
        subprocess.run(stop, env=environment, cwd=home, capture_output=True, timeout=60, check=False)


def test_the_tutorial_takes_less_than_ten_minutes_and_ends_as_it_says(tutorial: Followed) -> None:
    # Of a processor, since others keep this machine busy; a core that is free does the whole of it in that time.
    assert tutorial.processor_seconds < 300
    for said in ("is shown to be higher", "rows new to it", "blank label", "inconclusive", "all match their sha256"):
        assert said in tutorial.shown, tutorial.shown


@pytest.mark.parametrize("page", [page for page, test in RUN_BY.items() if test.startswith(HERE) and page != TUTORIAL])
def test_a_page_does_what_it_says(tutorial: Followed, page: str) -> None:
    registry = tutorial.folder / "pipelines" / ".contender" / "registry"
    run(page, tutorial.folder, tutorial.environment, {"s3://acme-models": str(registry)})
