"""Artifacts are for people: no run waits for one, and none fails by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from contender.progress import Note
from tasks import artifacts
from tasks.artifacts import ProgressBar

RUN: Any = SimpleNamespace(pipeline=SimpleNamespace(spec=SimpleNamespace(name="desk")))


class Server:
    """What a progress bar asks of Prefect, answered here."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.broken = False

    def create(self, *, progress: float, key: str, description: str) -> Any:
        return self.update(artifact_id=uuid4(), progress=progress, description=description)

    def update(self, *, artifact_id: Any, progress: float, description: str) -> Any:
        self.answers.wait(30)
        if self.broken:
            raise RuntimeError("the server is gone")
        self.told.append((progress, description))
        return artifact_id


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setattr(artifacts, "create_progress_artifact", made.create)
    monkeypatch.setattr(artifacts, "update_progress_artifact", made.update)
    monkeypatch.setattr(artifacts, "FlowRunContext", SimpleNamespace(get=lambda: object()))
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: SimpleNamespace(warning=lambda *_: None))
    monkeypatch.setattr(artifacts, "UPDATE_SECONDS", 0.01)
    yield made
    made.answers.set()
    # A bar leaves its thread with a server that hangs; the next test's server would hear from it.
    for thread in threading.enumerate():
        if thread.name == "progress-bar":
            thread.join()


def test_the_bar_ends_at_the_end_and_hears_its_own_stage_only(server: Server) -> None:
    with ProgressBar(RUN, "train") as bar:
        bar(Note("gate", "moved", "rows", done=1, total=2))
        bar(Note("train", "moved", "loss 1.0", done=1, total=4))
    assert server.told[-1] == (100.0, "█" * 20 + " done")
    assert all("rows" not in text for _, text in server.told)


def test_the_bar_is_drawn_before_what_the_stage_tells(server: Server) -> None:
    with ProgressBar(RUN, "train") as bar:
        bar(Note("train", "moved", "loss 1.0", done=1, total=4))
        while not server.told:
            time.sleep(0.01)
    assert server.told[0] == (25.0, "█" * 5 + " loss 1.0")


def test_a_server_that_hangs_holds_up_neither_the_notes_nor_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "LAST_UPDATE_SECONDS", 0.1)
    server.answers.clear()
    began = time.monotonic()
    with ProgressBar(RUN, "train") as bar:
        for step in range(1000):
            bar(Note("train", "moved", "loss", done=step, total=1000))
    assert time.monotonic() - began < 10


def test_a_server_that_refuses_is_not_asked_again(server: Server) -> None:
    server.broken = True
    with ProgressBar(RUN, "train") as bar:
        for step in range(3):
            bar(Note("train", "moved", "loss", done=step, total=3))
            time.sleep(0.05)
    assert server.told == []


def test_a_server_that_took_no_page_is_not_asked_for_the_next_ones(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(**artifact: object) -> None:
        asked.append(str(artifact["key"]))
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(artifacts, "create_markdown_artifact", refuse)
    monkeypatch.setattr(artifacts, "_quiet_until", [0.0])
    for name in ("snapshot", "quality"):
        artifacts.leave(RUN, name, lambda: "", "")
    assert asked == ["desk-snapshot"]


def test_a_server_that_hangs_holds_up_one_page_for_a_moment_and_no_other(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(artifacts, "_quiet_until", [0.0])
    ever = threading.Event()
    asked: list[object] = []

    def hang(**artifact: object) -> None:
        asked.append(artifact["key"])
        ever.wait(30)

    monkeypatch.setattr(artifacts, "create_markdown_artifact", hang)
    began = time.monotonic()
    for _ in range(20):
        artifacts.leave(RUN, "snapshot", lambda: "", "")
    assert time.monotonic() - began < 10
    ever.set()
    assert asked == ["desk-snapshot"]


def test_a_page_that_cannot_be_made_fails_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_quiet_until", [0.0])

    def broken() -> str:
        raise ValueError("no such metric")

    kept: list[object] = []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda **artifact: kept.append(artifact["key"]))
    artifacts.leave(RUN, "snapshot", broken, "")
    artifacts.leave(RUN, "quality", lambda: "", "")
    assert kept == ["desk-quality"], "that is no fault of the server's: it is asked again"


def test_the_line_of_a_page_is_cut_made_safe_and_says_what_was_found(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, str] = {}
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda **artifact: kept.update(artifact))
    artifacts.leave(RUN, "snapshot", lambda: "page", "[x](javascript:1) \x1b", cached=True)
    assert kept["description"] == r"\[x\]\(javascript:1\) \\x1b \(found in the workspace\)"
    artifacts.leave(RUN, "snapshot", lambda: "page", "x" * 10_000_000)
    assert len(kept["description"]) == artifacts.DESCRIPTION
