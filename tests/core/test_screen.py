"""What `contender up` shows: everything there is room for, the next start in its own time zone, nothing that a terminal would obey."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from contender.schedules import Schedule
from contender.spec import Pipeline
from deployments.screen import Places, Screen, span, starts
from deployments.stack import Part
from deployments.watching import Ended, Seen, Underway, Watched


def ago(**spans: float) -> datetime:
    return datetime.now(UTC) - timedelta(**spans)


def watched(name: str = "desk", *, starts_by: dict[str, Any] | None = None, **seen: Any) -> Watched:
    spec = {
        "name": name,
        "task": "text-classification",
        "data": {"source": "tickets/"},
        "model": {"base": "somewhere"},
        **(starts_by or {}),
    }
    pipeline = Pipeline.model_validate({"spec": spec, "folder": "/pipelines", "suite_name": "s", "suite": {}})
    return Watched(pipeline, {"retrain": uuid4()}, Seen(**seen))


EVERYTHING = {
    "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
    "triggers": {
        "new_data": {"every": "5m"},
        "webhook": {"scheme": "token", "secrets": ["env:HOOK"]},
    },
}


def places(tmp_path: Path) -> Places:
    worker = Part("worker", "m", tmp_path / "log", {}, 0)
    worker.why, worker.due = "ended with code 1", time.monotonic() + 3600
    gateway = Part("gateway", "m", tmp_path / "log", {}, 0, url="http://127.0.0.1:8123")
    return Places("http://127.0.0.1:4200", "process 12", "http://127.0.0.1:4200/x#secret", "local", worker, gateway)


def drawn(
    tmp_path: Path, pipelines: list[Watched], width: int = 80, height: int = 24, fault: str = "", *events: str
) -> str:
    out = Console(
        width=width, height=height, file=(tmp_path / "screen").open("w"), force_terminal=True, legacy_windows=False
    )
    screen = Screen(out)
    with screen.shown(places(tmp_path), pipelines):
        for event in events:
            screen.tell(event)
        frame = Console(width=width, height=height, no_color=True, force_terminal=False)
        with frame.capture() as shown:
            frame.print(screen.frame(places(tmp_path), pipelines, fault))
    out.file.close()
    return shown.get()


def test_it_says_what_runs_where(tmp_path: Path) -> None:
    one = watched(
        starts_by=EVERYTHING,
        champion="r-3f2a9c1b7d2e4f60",
        entry=4,
        next=datetime(2031, 3, 30, 1, 0, tzinfo=UTC),
        last=Ended("Promoted", ago(hours=3), ""),
        looked=Ended("UpToDate", ago(minutes=5), ""),
        now=(Underway("Running", ago(hours=2)),),
    )
    shown = drawn(tmp_path, [one], 100, 30)
    assert "http://127.0.0.1:4200  process 12" in shown
    assert "ended with code 1; again in 3" in shown
    assert "pool local, 1 run under way" in shown
    assert "http://127.0.0.1:8123" in shown
    assert "● Running, 2 h   ✓ Promoted, 3 h ago" in shown
    assert "r-3f2a9c1b7d2e4f60 (entry 4)" in shown
    assert "Sun 30 Mar 03:00 CEST" in shown, "the clock of that day, behind the change to summer time"
    assert "every 5 min, looked 5 min ago" in shown
    assert "POST /hooks/desk/TOKEN (token)" in shown
    assert "#secret" not in shown, "a link that signs in is no part of a screen that somebody may share"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (40, 12)])
def test_it_fits_its_terminal_whatever_the_number_of_pipelines(tmp_path: Path, width: int, height: int) -> None:
    many = [watched(f"pipeline-{n}", starts_by=EVERYTHING) for n in range(50)]
    many[40] = watched("busy", now=(Underway("Running", ago()),))
    lines = drawn(tmp_path, many, width, height, "", *(f"event {n}" for n in range(9))).splitlines()
    assert len(lines) <= height
    assert any("busy" in line for line in lines), "who works comes first"
    assert max(map(len, lines)) <= width


def test_what_comes_from_outside_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    shown = drawn(
        tmp_path, [watched(fault="\x1b]0;title\x07[red]no[/red]")], 100, 30, "\x1b[2Jgone", "desk: \x1b[31mFailed"
    )
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[red]no[/red]" in shown


def test_without_a_terminal_each_event_is_a_line_and_places_are_said_once(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("w") as stream:
        screen = Screen(Console(file=stream, force_terminal=False, width=1000))
        screen.tell("before")
        with screen.shown(places(tmp_path), [watched(starts_by=EVERYTHING)]):
            screen.tell("desk runs")
            screen.draw(places(tmp_path), [], "")
    lines = log.read_text().splitlines()
    assert lines[0].endswith(" before") and lines[-1].endswith(" desk runs")
    assert lines[1] == "Prefect UI, signed in: http://127.0.0.1:4200/x#secret"
    assert lines[-2] == (
        "desk: schedule 0 3 * * * Europe/Berlin, new data every 5 min, webhook POST /hooks/desk/TOKEN (token)"
    )


def test_a_look_that_failed_is_told_beside_its_time() -> None:
    failed = watched(starts_by=EVERYTHING, looked=Ended("Failed", ago(minutes=5), "no such bucket"))
    assert ("new data", "every 5 min, looked 5 min ago: Failed") in starts(failed)


def test_paused_and_unnamed_ways_to_start_are_told() -> None:
    paused = watched(
        starts_by={
            "schedule": [
                {"interval": "6h", "paused": True},
                {"rrule": "FREQ=DAILY"},
                {"rrule": "DTSTART:20260101T030000\nRRULE:FREQ=WEEKLY"},
            ]
        }
    )
    assert [text for _, text in starts(paused)] == ["every 6 h, paused", "FREQ=DAILY UTC", "FREQ=WEEKLY UTC"]
    assert starts(watched())[0][0] == "starts"
    assert Schedule(interval="90m").interval == 5400


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (60, "1 min"), (90, "90 s"), (7200, "2 h"), (5400, "90 min"), (86400 * 3, "3 d")]
)
def test_durations_are_told_in_the_unit_that_reads_best(seconds: float, words: str) -> None:
    assert span(seconds) == words
