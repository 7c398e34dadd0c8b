"""What a log file gets of a run's progress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from rich.console import Console

from contender.progress import Note
from deployments import terminal
from deployments.terminal import RunView, transferring


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


def test_what_a_stages_process_prints_is_for_the_log_and_not_for_the_terminal(shown):
    view, out = shown
    view(Note("train", "said", "UserWarning: deprecated"))
    assert out.getvalue() == ""


def test_a_transfer_that_takes_long_says_how_far_it_is_how_fast_and_how_long_yet(monkeypatch):
    out, clock = StringIO(), [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with transferring(Console(file=out, no_color=True, width=200), "pulling r-1", 400_000_000) as on_bytes:
        for _ in range(7):
            clock[0] += 2
            on_bytes(20_000_000)
    assert out.getvalue().splitlines() == ["  pulling r-1: 120 of 400 MB, 10.0 MB/s, 28 s left"]


def test_a_transfer_that_is_soon_over_leaves_no_line():
    out = StringIO()
    with transferring(Console(file=out, no_color=True, width=200), "pulling r-1", 100) as on_bytes:
        on_bytes(100)
    assert out.getvalue() == ""


def test_a_terminal_shows_a_bar_with_bytes_speed_and_time_left():
    out = StringIO()
    screen = Console(file=out, force_terminal=True, width=120)
    with (
        transferring(screen, "pulling [r]\x1b[2J", 400_000_000) as on_bytes,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(on_bytes, [1_000_000] * 100))
    shown = out.getvalue()
    assert "pulling [r]" in shown and "\x1b[2J" not in shown
    assert "100.0/400.0 MB" in shown and "B/s" in shown and "0:00:" in shown
