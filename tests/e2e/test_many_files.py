"""A folder of 100,000 small files, through the command line."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from desk import Desk, tickets

FILES = 100_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_files_are_read_in_bounded_memory(desk: Desk) -> None:
    rows = tickets(1000, seed=1)
    for number in range(FILES):
        text, label = rows[number % len(rows)]
        Path(desk.folder, "tickets", f"{number}.csv").write_text(f"body,colour\n{text} {number},{label}\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = desk.run("check", str(desk.pipeline), "--json")
    assert (ran.code, ran.document["files"], ran.document["rows"]) == (0, FILES, FILES), ran.shown
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 700, f"{grown:.0f} MiB more"
