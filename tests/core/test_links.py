"""What a person can click: below report.base_url, on our own server, or nothing but a place in words."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from contender import pages
from contender.links import data_docs_link, report_link
from contender.pages import read_pointer, show_data_docs, show_report
from contender.run import RunResult
from contender.spec import Report

RELEASE, EVALUATION = "r-0123456789abcdef", "e-fedcba9876543210"
RUN_ID = "0192f0c1-0000-7000-8000-00000000abcd"
ADDRESS = "http://127.0.0.1:4299/contender/runs"


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONTENDER_PAGES", str(tmp_path / "pages"))
    monkeypatch.setenv("CONTENDER_PAGES_URL", ADDRESS)
    return tmp_path / "pages"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    (tmp_path / "report.html").write_text("<!doctype html>")
    return tmp_path / "report.html"


def a_run(base_url: str | None = None) -> Any:
    return SimpleNamespace(
        pipeline=SimpleNamespace(spec=SimpleNamespace(report=Report(base_url=base_url))),
        registry=SimpleNamespace(pipeline="desk", url="s3://models/prefix/desk"),
        flow_run_id=RUN_ID,
    )


def a_result(report: Path | None = None, evaluation: str | None = EVALUATION) -> RunResult:
    return RunResult(
        pipeline="desk",
        outcome="kept",
        message="",
        seconds=1.0,
        release=RELEASE,
        evaluation=evaluation,
        report=str(report) if report else None,
    )


KEY = f"desk/evaluations/{RELEASE}/{EVALUATION}/report.html"


def test_everybody_can_open_what_lies_below_the_base_url(own_server: Path, report: Path) -> None:
    link = report_link(a_run("https://models.example.com/registry"), a_result(report))
    assert link and link.url == f"https://models.example.com/registry/{KEY}"


def test_without_a_base_url_our_own_server_shows_the_report(own_server: Path, report: Path) -> None:
    link = report_link(a_run(), a_result(report))
    pointer = read_pointer(own_server, RUN_ID)
    assert link and pointer and link.url == f"{ADDRESS}/{RUN_ID}/{pointer.token}/report"
    assert pointer.report == str(report.resolve())


def test_on_a_server_of_others_the_place_and_the_command_are_said(report: Path) -> None:
    link = report_link(a_run(), a_result(report))
    assert link and link.url is None
    assert link.place == f"s3://models/prefix/{KEY}; contender report desk@{RELEASE}"


def test_a_run_without_a_report_has_no_link(own_server: Path) -> None:
    assert report_link(a_run("https://models.example.com"), a_result(evaluation=None)) is None


def test_a_report_that_is_gone_is_not_linked_to(own_server: Path, tmp_path: Path) -> None:
    link = report_link(a_run(), a_result(tmp_path / "gone.html"))
    assert link and link.url is None
    assert not own_server.exists()


def test_later_pages_of_a_run_keep_earlier_links(own_server: Path, report: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").touch()
    docs = data_docs_link(a_run(), tmp_path / "docs" / "index.html")
    before = read_pointer(own_server, RUN_ID)
    assert before and docs.url == f"{ADDRESS}/{RUN_ID}/{before.token}/data-docs/index.html"
    show_report(RUN_ID, report)
    after = read_pointer(own_server, RUN_ID)
    assert after and (after.token, after.data_docs) == (before.token, before.data_docs) and after.report


def test_only_its_owner_can_read_a_pointer(own_server: Path, report: Path) -> None:
    previous = os.umask(0)
    try:
        show_report(RUN_ID, report)
    finally:
        os.umask(previous)
    assert {path.stat().st_mode & 0o777 for path in (own_server, *own_server.iterdir())} == {0o700, 0o600}


def test_tokens_cannot_be_guessed_from_one_another(own_server: Path, report: Path) -> None:
    links = {show_report(str(uuid4()), report) for _ in range(3)}
    tokens = {str(link).split("/")[-2] for link in links}
    assert len(tokens) == 3 and all(len(token) >= 32 for token in tokens)


def test_pointers_are_bounded_and_the_oldest_go(
    own_server: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "KEPT", 3)
    runs = [str(uuid4()) for _ in range(5)]
    for moment, run in enumerate(runs):
        show_report(run, report)
        os.utime(own_server / f"{run}.json", (moment, moment))
    show_report(RUN_ID, report)
    assert {path.stem for path in own_server.glob("*.json")} == {*runs[-2:], RUN_ID}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}', '{"token": "t", "more": 1}', "\0"])
def test_a_damaged_pointer_points_nowhere_and_is_made_anew(own_server: Path, report: Path, content: str) -> None:
    own_server.mkdir()
    (own_server / f"{RUN_ID}.json").write_text(content)
    assert read_pointer(own_server, RUN_ID) is None
    assert show_report(RUN_ID, report)
    assert read_pointer(own_server, RUN_ID)


@pytest.mark.parametrize("name", ["../auth", "", "a" * 36, f"{RUN_ID}/", RUN_ID.upper()])
def test_no_pointer_is_looked_for_under_a_name_that_is_no_runs(own_server: Path, name: str) -> None:
    own_server.mkdir()
    (own_server.parent / "auth.json").write_text('{"token": "t"}')
    assert read_pointer(own_server, name) is None
    assert show_data_docs(name, own_server.parent / "auth.json") is None


def test_a_folder_that_cannot_be_written_costs_the_link_alone(own_server: Path, report: Path) -> None:
    own_server.write_text("a file stands here")
    link = report_link(a_run(), a_result(report))
    assert link and link.url is None


@pytest.mark.parametrize(
    "url",
    [
        "models.example.com",
        "ftp://models.example.com/",
        "javascript:alert(1)",
        "https://user:secret@models.example.com/",
        "https://models.example.com/?prefix=x",
        "https://models.example.com/#x",
        "https://models.example.com/a b",
        "https://models.example.com/a)[x](javascript:alert(1)",
        'https://models.example.com/"><script>',
        "https:///registry",
        "https://models.example.com/\x1b[2J",
        "https://modelle.example.com/\u202e",
        "http://[::1",
        "https://models.example.com:port/",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Report(base_url=url)


def test_a_base_url_ends_in_one_slash() -> None:
    assert Report(base_url="https://models.example.com/registry").base_url == "https://models.example.com/registry/"
    assert Report(base_url="http://[::1]:8080//").base_url == "http://[::1]:8080/"
