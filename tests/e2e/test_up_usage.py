"""`contender up PIPELINE…` with something wrong: all of it is told before anything starts, and nothing is left."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import PIPELINE, Ran

HOOK = "triggers: {webhook: {scheme: github, secrets: [env:CONTENDER_TEST_HOOK]}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONTENDER_TEST_HOOK", raising=False)
    (tmp_path / "good.yaml").write_text(PIPELINE.format(base="nowhere"))
    (tmp_path / "hook.yaml").write_text(PIPELINE.format(base="nowhere").replace("desk", "hook") + HOOK)
    (tmp_path / "bad.yaml").write_text("name: bad\ntask: text-classification\n")
    return tmp_path


def test_what_is_wrong_with_every_pipeline_is_told_at_once(command: Callable[..., Ran], folder: Path) -> None:
    names = ("good.yaml", "hook.yaml", "bad.yaml", "missing.yaml")
    ran = command("up", *(str(folder / name) for name in names), "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    for words in ("env:CONTENDER_TEST_HOOK, and CONTENDER_TEST_HOOK is not set", "bad.yaml:1:1", "missing.yaml"):
        assert words in ran.shown
    assert not (folder / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--force",), "--force goes with --stop"),
        (("good.yaml", "--stop"), "--stop takes no pipelines"),
        (("--port", "8080"), "which runs with pipelines"),
        (("--public-url", "https://x.example"), "which runs with pipelines"),
        (("good.yaml", "good.yaml"), "several of these pipelines are named desk"),
        (("good.yaml", "--port", "0"), "--port 0 is no port"),
        (("good.yaml", "--port", "70000"), "--port 70000 is no port"),
        (("good.yaml", "--port", "many"), "invalid int value"),
        (("good.yaml", "--public-url", "hooks.example.com"), "is no URL"),
        (("good.yaml", "--public-url", "ftp://hooks.example.com"), "is no URL"),
    ],
)
def test_a_wrong_command_line_starts_nothing(
    command: Callable[..., Ran], folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = command("up", *(str(folder / one) if one.endswith(".yaml") else one for one in arguments), "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "invalid")
    assert words in ran.shown
    assert not (folder / "home").exists()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(command: Callable[..., Ran], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = command("up", str(folder / "good.yaml"), "--port", port)
    assert ran.code == 2
    assert f"port {port} is taken" in ran.shown
    assert not (folder / "home").exists()


def test_stop_where_nothing_runs_says_so(command: Callable[..., Ran], folder: Path) -> None:
    ran = command("up", "--stop", "--json")
    assert (ran.code, ran.document) == (0, {"outcome": "done", "stopped": False, "stack": None})
    assert not (folder / "home").exists()
