"""What a log file gets of a run's progress."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from contender.progress import Note
from deployments import terminal
from deployments.terminal import RunView


@pytest.fixture
def shown() -> tuple[RunView, StringIO]:
    out = StringIO()
    return RunView(Console(file=out, no_color=True, width=200)), out


def test_a_stage_that_ends_at_once_leaves_one_line(shown):
    view, out = shown
    view(Note("snapshot", "started"))
    view(Note("snapshot", "moved", "reading source: 0 rows", done=0))
    view(Note("snapshot", "finished", "1 file, 330 rows", seconds=0.3))
    view(Note("gate", "moved", "checking: 330 rows", done=330, total=330))
    assert out.getvalue().splitlines() == ["✓ snapshot     0.3 s  1 file, 330 rows"]


def test_a_stage_that_takes_long_is_heard_of_now_and_then(shown, monkeypatch):
    view, out = shown
    monkeypatch.setattr(terminal, "QUIET_SECONDS", -1)
    view(Note("train", "moved", "loss 0.5", done=3, total=9))
    assert out.getvalue().splitlines() == ["  train     3/9 loss 0.5"]
