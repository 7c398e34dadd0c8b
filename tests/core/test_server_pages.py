"""A run's pages beside the Prefect UI: what is served, to whom, and what a hostile path, pointer or file reaches: nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from contender.pages import Pointer, show_data_docs, show_report
from deployments import pages
from deployments.guard import Activity, Guard
from deployments.pages import Pages

RUN = "0192f0c1-0000-7000-8000-00000000abcd"
OTHER = "0192f0c1-0000-7000-8000-00000000abce"
REPORT = b"<!doctype html><script>alert(1)</script>"
SECRET = b"user:password"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a report, Data Docs, and things beside them that nobody may see."""
    home = tmp_path.resolve()
    monkeypatch.setenv("CONTENDER_PAGES", str(home / "pages"))
    monkeypatch.setenv("CONTENDER_PAGES_URL", "http://127.0.0.1:4299/contender/runs")
    (home / "auth").write_bytes(SECRET)
    (home / "report.html").write_bytes(REPORT)
    (home / "docs" / "deeper").mkdir(parents=True)
    for name in ("index.html", "expectations.html", "notes.txt", "deeper/page.html", "quarantine.csv"):
        (home / "docs" / name).write_text(name)
    (home / "docs" / "link.html").symlink_to(home / "auth")
    (home / "docs" / "folder.html").mkdir()
    os.mkfifo(home / "docs" / "pipe.html")
    return home


def base(folder: Path) -> str:
    """The path that all pages of the run begin with."""
    link = show_report(RUN, folder / "report.html")
    assert show_data_docs(RUN, folder / "docs" / "index.html") and link
    return link.removeprefix("http://127.0.0.1:4299").removesuffix("/report")


def ask(folder: Path, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer of a guarded server; `path` as the server has it, decoded."""
    sent: list[Any] = []

    async def never(*_: object) -> None:
        raise AssertionError("Prefect was asked")

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:4299"} | headers
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(Guard(never, "i", Activity(), Pages(folder / "pages"))(scope, never, send))
    start, body = sent
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]


def test_a_report_and_data_docs_are_served_to_whoever_has_the_link(folder: Path) -> None:
    status, headers, body = ask(folder, f"{base(folder)}/report")
    assert (status, body, headers["content-type"]) == (200, REPORT, "text/html; charset=utf-8")
    assert ask(folder, f"{base(folder)}/data-docs/index.html")[2] == b"index.html"
    assert ask(folder, f"{base(folder)}/data-docs/expectations.html")[2] == b"expectations.html"


def test_a_page_can_do_nothing_in_the_browser(folder: Path) -> None:
    _, headers, _ = ask(folder, f"{base(folder)}/report")
    policy = headers["content-security-policy"].split("; ")
    assert policy[:4] == ["sandbox", "default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert (headers["referrer-policy"], headers["x-frame-options"]) == ("no-referrer", "DENY")


def test_head_tells_the_length_and_sends_nothing(folder: Path) -> None:
    status, headers, body = ask(folder, f"{base(folder)}/report", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(REPORT)), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused(folder: Path, method: str) -> None:
    status, headers, _ = ask(folder, f"{base(folder)}/report", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/report/more",
        "/report/../auth",
        "/data-docs",
        "/data-docs/",
        "/data-docs/../auth",
        "/data-docs/..",
        "/data-docs//../../auth",
        "/data-docs/%2e%2e/auth",
        "/data-docs/..%2fauth",
        "/data-docs/..\\auth",
        "/data-docs/deeper/page.html",
        "/data-docs/deeper%2fpage.html",
        "/data-docs/notes.txt",
        "/data-docs/quarantine.csv",
        "/data-docs/link.html",
        "/data-docs/folder.html",
        "/data-docs/pipe.html",
        "/data-docs/index.html\0",
        "/data-docs/index.html\n",
        "/data-docs/.html",
        "/data-docs/" + "a" * 10_000 + ".html",
        "/data-docs/\udcff.html",
        "/quarantine",
    ],
)
def test_nothing_else_is_served(folder: Path, rest: str) -> None:
    status, headers, body = ask(folder, f"{base(folder)}{rest}")
    assert (status, SECRET in body) == (404, False)
    assert headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    "path",
    [
        "/contender/runs/",
        f"/contender/runs/{RUN}",
        f"/contender/runs/{RUN}//report",
        f"/contender/runs/{RUN}/token/report",
        f"/contender/runs/{RUN}/\udcff/report",
        f"/contender/runs/{OTHER}/token/report",
        "/contender/runs/../auth/token/report",
        f"/contender/runs/../{RUN}/token/report",
    ],
)
def test_without_the_token_nothing_is_told_of_any_run(folder: Path, path: str) -> None:
    base(folder)
    assert ask(folder, path)[::2] == (404, pages.GONE.encode())


def test_the_token_of_another_run_opens_nothing(folder: Path) -> None:
    token = base(folder).rpartition("/")[2]
    show_report(OTHER, folder / "report.html")
    assert ask(folder, f"/contender/runs/{OTHER}/{token}/report")[0] == 404


def test_a_link_that_takes_the_place_of_a_page_is_not_followed(folder: Path) -> None:
    there = base(folder)
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(folder / "auth")
    (folder / "docs").rename(folder / "kept")
    (folder / "docs").symlink_to(folder / "kept")
    assert [ask(folder, f"{there}/{page}")[0] for page in ("report", "data-docs/index.html")] == [404, 404]


@pytest.mark.parametrize("place", ["/dev/zero", "/proc/self/environ", "/", "", ".", "report.html", "\0"])
def test_a_pointer_to_what_is_no_page_shows_nothing(folder: Path, place: str) -> None:
    (folder / "pages").mkdir()
    (folder / "pages" / f"{RUN}.json").write_bytes(Pointer(token="t", report=place).to_bytes())
    assert ask(folder, f"/contender/runs/{RUN}/t/report")[0] == 404


def test_a_page_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = base(folder)
    monkeypatch.setattr(pages, "MOST_BYTES", len(REPORT) - 1)
    assert ask(folder, f"{there}/report")[0] == 404


def test_another_host_or_origin_gets_no_page(folder: Path) -> None:
    there = f"{base(folder)}/report"
    assert ask(folder, there, host="evil.example")[0] == 421
    assert ask(folder, there, origin="http://evil.example")[0] == 403
