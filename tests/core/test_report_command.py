"""`contender report`: the page of the evaluation that was judged by, and nothing that hangs where nobody looks."""

from __future__ import annotations

import json
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from contender.records import Evaluation, ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.store import LocalStore
from deployments import cli, report_command
from deployments.report_command import plausible

PAGE = "<!doctype html><title>report</title>"


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "CONTENDER_REGISTRY"):
        monkeypatch.delenv(name, raising=False)


def staged(registry: Registry, folder: Path, weights: bytes) -> ReleaseManifest:
    model = folder / weights.hex()
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(weights)
    return registry.stage(model, ReleaseDraft(kind="text-classification", columns={}))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A release that was evaluated and is live, and one that nobody evaluated."""
    registry = Registry(LocalStore(tmp_path / "registry"), "desk")
    first = staged(registry, tmp_path, b"one")
    files = tmp_path / "files"
    files.mkdir()
    (files / "report.html").write_text(PAGE)
    evaluation = Evaluation(
        evaluation="e-1", release=first.release, champion=None, device="cpu", dtype="fp32", challenger_sets=()
    )
    registry.save_evaluation(evaluation, files)
    registry.promote("production", 0, first, reason="r", actor="a", evaluation="e-1")
    registry.promote("canary", 0, staged(registry, tmp_path, b"two"), reason="r", actor="a", by_hand=True)
    return registry


def report(registry: Registry, capsys: pytest.CaptureFixture[str], *more: str, at: str = "") -> tuple[int, Any, str]:
    code = cli.main(["report", registry.url + at, "--json", *more])
    shown = capsys.readouterr()
    return code, json.loads(shown.out), shown.err


def test_the_report_is_written_as_it_is_and_named(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, shown = report(registry, capsys)
    release = registry.champion("production").release  # type: ignore[union-attr]
    path = Path(document.pop("path"))
    assert (code, path.read_text()) == (0, PAGE) and str(path) in shown
    assert document == {
        "outcome": "done", "pipeline": "desk", "registry": registry.url, "release": release, "evaluation": "e-1",
    }  # fmt: skip
    assert report(registry, capsys, at=f"@{release}")[1]["evaluation"] == "e-1"


def test_it_goes_where_it_is_asked_to(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(registry, capsys, "--out", "here.html")[1]["path"] == str(tmp_path / "here.html")
    assert (tmp_path / "here.html").read_text() == PAGE
    for wrong in ("missing/here.html", ".", "/proc/here.html"):
        code, document, _ = report(registry, capsys, "--out", wrong)
        assert (code, document["outcome"]) == (2, "invalid") and "cannot write to" in document["error"]["what"]
        assert "--out FILE" in document["error"]["fix"]


def test_a_release_that_nobody_evaluated_and_names_that_are_unknown_say_what_to_do(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document, _ = report(registry, capsys, at="@canary")
    assert code == 2 and "has no report" in document["error"]["what"] and "history" in document["error"]["fix"]
    for at in ("@nothing", "@r-0123456789abcdef", "x"):
        code, document, _ = report(registry, capsys, at=at)
        assert (code, document["outcome"]) == (2, "invalid")


def test_a_damaged_report_is_not_shown(registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored,) = (tmp_path / "registry").rglob("report.html")
    stored.chmod(0o644)
    stored.write_text(PAGE + "<script>")
    code, document, _ = report(registry, capsys)
    assert code == 1 and "other content than its sha256 says" in document["error"]["what"]
    assert not (tmp_path / "cache" / "reports").exists()


@pytest.mark.parametrize(
    ("environ", "platform", "terminal", "wanted"),
    [
        ({"DISPLAY": ":0"}, "linux", True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True, True),
        ({"BROWSER": "open-it %s"}, "linux", True, True),
        ({}, "linux", True, False),
        ({"DISPLAY": ":0"}, "linux", False, False),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", True, False),
        ({}, "darwin", True, True),
        ({"SSH_CONNECTION": "x"}, "darwin", True, False),
    ],
)
def test_a_browser_is_opened_where_somebody_looks(
    environ: dict[str, str], platform: str, terminal: bool, wanted: bool
) -> None:
    assert plausible(environ, platform, terminal) == wanted


def test_a_browser_that_does_not_return_or_fails_holds_nobody_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, opened = threading.Event(), []
    monkeypatch.setattr(report_command, "plausible", lambda *_: True)
    monkeypatch.setattr(report_command, "OPENING_SECONDS", 0.1)
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)) or ended.wait(30))
    started = time.monotonic()
    assert cli.main(["report", registry.url]) == 0
    assert time.monotonic() - started < 10 and opened[0].startswith("file:///")
    ended.set()
    capsys.readouterr()

    def broken(url: str) -> bool:
        raise webbrowser.Error("no browser")

    monkeypatch.setattr(webbrowser, "open", broken)
    assert cli.main(["report", registry.url]) == 0
    assert "no browser opened it" in capsys.readouterr().err
    assert cli.main(["report", registry.url, "--no-open"]) == 0
    assert "no browser" not in capsys.readouterr().err
    assert len(opened) == 1
