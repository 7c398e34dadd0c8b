"""The site of docs/: it builds without a warning, no link of it is dead, and a browser needs no other host to read and search it."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from snippets import ROOT

CHECK = runpy.run_path(str(ROOT / "docs" / "_site" / "check.py"))
LISTED = {line for line in CHECK["LISTED"].read_text(encoding="utf-8").splitlines() if line}
faults: Callable[[Path, set[str]], list[str]] = CHECK["faults"]
PAGE = '<html><body><h1 id="top">A</h1>{}</body></html>'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html">x</a>', "is not there"),
        ('<a href="#nowhere">x</a>', "no such place"),
        ('<a href="two.html#nowhere">x</a>', "no such place"),
        ('<script src="https://cdn.example/x.js"></script>', "fetches https://cdn.example/x.js"),
        ('<img src="//cdn.example/x.png">', "fetches //cdn.example/x.png"),
        ('<link rel="stylesheet" href="gone.css">', "fetches gone.css, which is not there"),
        ('<a href="https://unknown.example">x</a>', "look at it and add it"),
        ('<a href="http://listed.example">x</a>', "is not https"),
    ],
)
def test_a_dead_link_a_foreign_host_and_an_unknown_one_are_found(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path / "index.html").write_text(PAGE.format(body), encoding="utf-8")
    (tmp_path / "two.html").write_text(PAGE.format('<a href="index.html#top">x</a>'), encoding="utf-8")
    listed = {"http://listed.example"} if "listed" in body else set()
    (found,) = faults(tmp_path, listed)
    assert fault in found


def test_a_style_that_fetches_a_font_and_a_stale_entry_of_the_list_are_found(tmp_path: Path) -> None:
    assert "holds no page" in faults(tmp_path, set())[0]
    (tmp_path / "index.html").write_text(PAGE.format('<a href="#top">x</a>'), encoding="utf-8")
    assert faults(tmp_path, set()) == []
    (tmp_path / "x.css").write_text('@import "https://fonts.example/a.css"; b { background: url(data:x) }')
    assert faults(tmp_path, {"https://gone.example"}) == [
        "x.css fetches https://fonts.example/a.css",
        "https://gone.example is in external-links.txt and on no page: take it out",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="make .venv/.docs installs what the site needs")
    folder = tmp_path_factory.mktemp("site")
    done = built(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def built(repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_it_builds_without_a_warning_and_every_link_leads_somewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 25
    assert (site / "source" / "examples" / "serve.py.html").is_file()
    assert faults(site, LISTED) == []


@pytest.mark.slow
def test_a_dead_link_a_dead_anchor_and_a_page_that_the_menu_forgot_stop_the_build(tmp_path: Path, site: Path) -> None:
    assert "-m mkdocs build --strict\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "docs" / "forgotten.md").write_text("[x](nowhere.md) [y](judging.md#nope) [z](../examples/nope.py)")
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for said in ("nowhere.md", "#nope", "nope.py", "forgotten.md"):
        assert said in done.stderr, done.stderr


@pytest.mark.slow
def test_a_browser_reads_and_searches_it_without_another_host(address: str) -> None:
    browsing = pytest.importorskip("playwright.sync_api", reason="make .venv/.docs installs what the site needs")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    with browsing.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/index.html")
        page.locator(".md-search__input").press_sequentially("detectable_gain")
        page.locator(".md-search-result__item", has_text="The spec, key by key").first.click()
        page.wait_for_url("**/spec.html*")
        # A phone scrolls a wide table or a long line, never the page.
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
