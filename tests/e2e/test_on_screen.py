"""`contender run` in a terminal of its own: what a person sees while it goes, and what is left on the screen."""

from __future__ import annotations

import json
import re

import pytest
from desk import Desk, tickets
from rich.cells import cell_len
from screens import OnScreen, contender

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def on_screen(desk: Desk, *more: str, width: int = 80, height: int = 24) -> OnScreen:
    return OnScreen(contender("run", str(desk.pipeline), *more), desk.folder, {}, width, height)


def test_a_run_is_drawn_as_it_goes_and_its_lines_stay(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))
    first = on_screen(desk, "--set", "promote.floors={accuracy: 0.01}", width=60, height=6)
    training = first.until(lambda text: "train  " in text and " steps" in text)
    assert "✓ split" in training and "· release, evaluate, judge, explain, latency, report, prom" in training
    code, text = first.end()
    assert (code, first.seen.cursor) == (0, True), text
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= 60
    stages = [line.split()[1] for line in lines if line.startswith("✓ ")]
    assert stages == [
        *[
            "snapshot",
            "gate",
            "split",
            "train",
            "release",
            "evaluate",
            "judge",
            "explain",
            "latency",
            "report",
            "promote",
        ],
        "promoted",
    ]
    assert text.count("There is no champion yet") == 1, "the verdict is told once"
    assert "Floor: accuracy" in text and "live by entry 1" in text

    again = on_screen(desk, "--set", "promote.floors={accuracy: 0.01}", "--quiet")
    code, text = again.end()
    assert (code, text.startswith("= up to date")) == (0, True) and "release" not in text.replace("first release", "")


def test_ctrl_c_leaves_a_clean_screen_that_says_where_it_goes_on(desk: Desk) -> None:
    desk.drop("1.csv", tickets(600, seed=1))
    run = on_screen(desk, "--set", "train.epochs=60")
    run.until(lambda text: re.search(r"[1-9]\d* of [\d,]+ steps", text) is not None)
    run.interrupt()  # no checkpoint is there yet, so one has to be waited for
    code, text = run.end()
    assert (code, run.seen.cursor) == (75, True), text
    assert text.count("– train") == 1 and "asked to stop" in text and "━" not in text
    assert "· not reached: release, evaluate, judge, explain, latency, report, promote" in text
    assert "to continue from step" in text and "Traceback" not in text


def test_verbose_says_more_and_the_document_stays_one(desk: Desk) -> None:
    desk.drop("1.csv", tickets(240, seed=1))
    ran = desk.retrain("--verbose")
    assert ran.code == 0 and json.dumps(ran.document)
    keys = {stage["key"] for stage in ran.document["stages"]}
    assert keys and all(f"key {key}" in ran.shown for key in keys)
    assert "preparing" in ran.shown and "\x1b" not in ran.shown
