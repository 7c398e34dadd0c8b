"""Notes become lines of the run's log: few, harmless, at the right level."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from prefect.exceptions import MissingContextError

from contender.progress import Note
from tasks import logs
from tasks.logs import RunLog


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    logger = SimpleNamespace(log=lambda level, how, text: found.append((level, how % text)))
    monkeypatch.setattr(logs, "get_run_logger", lambda: logger)
    return found


def test_what_began_ended_and_went_wrong_is_logged(lines: list[tuple[int, str]]) -> None:
    log = RunLog()
    log(Note("train", "started"))
    log(Note("train", "warned", "the training died; continuing"))
    log(Note("train", "said", "UserWarning: deprecated"))
    log(Note("train", "finished", "240 steps", seconds=12.34))
    log(Note("split", "finished", "900 rows", cached=True))
    assert lines == [
        (logging.INFO, "train: started"),
        (logging.WARNING, "train: the training died; continuing"),
        (logging.INFO, "train: | UserWarning: deprecated"),
        (logging.INFO, "train: 240 steps (12.3 s)"),
        (logging.INFO, "split: 900 rows (found in the workspace)"),
    ]


def test_how_far_a_stage_is_takes_a_line_now_and_then(
    lines: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    log = RunLog()
    log(Note("train", "started"))
    for step in range(1, 101):
        clock[0] += 1.0
        log(Note("train", "moved", "loss 0.5", done=step, total=1000))
    assert [text for _, text in lines[1:]] == [f"train: {step} of 1,000 · loss 0.5" for step in (30, 60, 90)]


def test_no_line_acts_or_is_long(lines: list[tuple[int, str]]) -> None:
    RunLog()(Note("gate", "said", "\x1b[2J\u202e\nfake line\r" + "x" * 10_000_000))
    ((_, text),) = lines
    assert len(text) == logs.LINE
    assert text.startswith(r"gate: | \x1b[2J\u202e\nfake line\r")


def test_outside_a_run_nothing_is_logged_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise MissingContextError("no run")

    monkeypatch.setattr(logs, "get_run_logger", nowhere)
    RunLog()(Note("gate", "started"))
