"""The report as a browser shows it: from a phone to a wall, on paper, by keyboard, and for those who do not see it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from noisy import noise_report
from reports import EVIL, report_input, series

from contender.evaluation.latency import summarise
from contender.records import Decision
from contender.reporting.data import History
from contender.reporting.report import render_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make .venv/.docs")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here"),
]

# axe-core by Deque, MPL-2.0: fetched where a registry of npm can be reached, and not kept here.
AXE = ("axe-core@4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
# What another part of the page is still to be asked for would stand here, by axe's rule.
ALLOWED: set[str] = set()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, hostile and long names among them."""
    folder = tmp_path_factory.mktemp("report")
    labels = ("billing", "refund", EVIL, "x" * 300, *(f"label {n}" for n in range(14)))
    data = report_input(folder, labels=labels, rows=360, texts=[EVIL + "w" * 400] * 360)
    timings = pa.table(
        {"challenger": [4.0 + n / 50 for n in range(100)], "champion": [5.0 + n / 50 for n in range(100)]}
    )
    decisions = tuple(
        Decision(
            key=f"k{n}", pipeline="p", outcome=("promoted", "kept", "inconclusive", "rejected_data")[n % 4], message=EVIL,
            spec_digest="s", snapshot="s", rows=100, judged_against=0, release=f"r-{n}",
            metrics={"accuracy": 0.8 + n / 100} if n % 4 < 3 else {}, seconds=1.0, actor="a", at=f"2026-11-{n + 1:02}T10:00:00.000Z",
        )
        for n in range(12)
    )  # fmt: skip
    data = replace(
        data,
        timings=timings,
        latency=summarise(timings, "cpu"),
        history=History(decisions, ()),
        monitoring=series([0.9, 0.8, 0.85], champions=("r-a", "r-b")),
        noise=noise_report([0.90, 0.91]),
    )
    path = folder / "report.html"
    path.write_text(render_report(data), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


def opened(browser: Any, path: Path, width: int = 1100, **options: Any) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 800}, **options)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("request", lambda request: page.said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("width", [360, 768, 1100, 3840])
def test_no_width_makes_the_page_itself_scroll_sideways(browser: Any, page_file: Path, width: int) -> None:
    page = opened(browser, page_file, width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.said == [], "an error of the page, a refused style, or something that it loads"
    assert page.title().endswith("r-2222222222222222")


def test_on_paper_everything_is_open_nothing_is_dark_and_no_table_is_cut(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, width=700, color_scheme="dark")
    closed = "[...document.querySelectorAll('details:not([open]) table')].map(one => one.checkVisibility())"
    assert not any(page.evaluate(closed)), "closed on the screen"
    dark = page.evaluate("getComputedStyle(document.body).color")
    page.emulate_media(media="print")
    shown = page.evaluate(closed)
    assert len(shown) >= 4 and all(shown)
    assert page.evaluate("getComputedStyle(document.body).color") != dark
    assert not page.locator("nav").is_visible() and not page.locator(".skip").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_the_keyboard_reaches_what_scrolls_and_opens_what_is_closed(browser: Any, page_file: Path) -> None:
    page = opened(browser, page_file, width=360)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    matrix = page.get_by_role("region", name="Confusion matrix")
    matrix.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(
        500
    )  # it scrolls smoothly; waiting for a condition would evaluate text, which the page's policy refuses
    assert matrix.evaluate("one => one.scrollLeft") > 0
    page.locator("#calibration summary").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("table", name="Challenger", exact=True).is_visible()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run([npm, "pack", AXE[0]], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm does not give {AXE[0]}: {done.stderr[-200:]}")
    (packed,) = folder.glob("*.tgz")
    assert hashlib.sha256(packed.read_bytes()).hexdigest() == AXE[1]
    with tarfile.open(packed) as archive:
        held = archive.extractfile("package/axe.min.js")
        assert held is not None
        return held.read().decode()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 360)])
def test_axe_finds_nothing_that_keeps_anyone_out(
    browser: Any, page_file: Path, axe: str, scheme: str, width: int
) -> None:
    page = opened(browser, page_file, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 30
    wrong = {one["id"]: [node["html"][:200] for node in one["nodes"][:3]] for one in found["violations"]}
    assert wrong.keys() <= ALLOWED, wrong
