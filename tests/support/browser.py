"""A person in front of the Prefect UI: a stack of its own, Chromium, a run started by the UI's button, and every page of it looked at.

`python -P -m browser FOLDER` writes the screenshots of the docs; tests/e2e/test_browser.py looks at the same pages.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import intents
from upped import Up
from workers import until

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page, Request

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PIPELINE = "support-intents"
PAGES = ("result", "verdict", "comparison", "leaderboard", "training", "split", "quality", "snapshot")
WIDTH, HEIGHT = 1280, 800
COLOURS = 128  # of a picture's palette
LOG_HEIGHT = 6000  # of a window in which a run's whole log is in sight: the UI draws no other lines
NEUTRAL = "/srv/models"  # what pictures show in place of the temporary folder
RUN_SECONDS = 200
# The height of a window that shows all of a page, and one text in place of another wherever a page shows it.
NEEDED = "() => document.documentElement.scrollHeight"
RENAME = """([from, to]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to)
}"""
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# Prefect's own: its policy keeps the session recorder out, and it asks for pictures that it does not ship.
THEIRS = re.compile(r"amplitude|Content Security Policy|Failed to load resource")


def missing() -> str | None:
    """Why there is no browser to drive; None where there is."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: make .venv/.docs"
    return None if _chromium() else "Chromium is not installed: apt-get install chromium"


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@contextmanager
def stack(folder: Path) -> Iterator[Up]:
    """`contender up` on the made-up support desk, until the body ends; the champion of a first, worse drop is live then."""
    pipeline = intents.make(folder / "desk")
    up = Up.start(folder / "home", str(pipeline), OMP_NUM_THREADS="1")
    try:
        up.until("starts by hand", 120)
        yield up
        up.ends()
    finally:
        up.kill_all()


@dataclass
class Ui:
    """The UI in a browser, signed in, and what went wrong in it."""

    page: Page
    origin: str
    secret: str
    run: str = ""  # the newest one's id
    elsewhere: list[str] = field(default_factory=list)  # requests to other hosts that were let out
    errors: list[str] = field(default_factory=list)  # of pages and consoles, but for what is Prefect's own

    def opens(self, path: str) -> None:
        self.page.goto(f"{self.origin}{path}")

    def settles(self) -> None:
        """Waits until a picture of the page would stay as it is."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(700)  # what is drawn after the last answer

    def starts_a_run(self) -> None:
        """As a person does: the deployment's page, its button, Quick run."""
        self.opens("/v2/deployments")
        self.page.get_by_role("link", name=PIPELINE, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        with self.page.expect_response(re.compile("/create_flow_run$")) as answer:
            self.page.get_by_role("menuitem", name="Quick run").click()
        assert answer.value.ok, f"{answer.value.status}: {answer.value.text()[:200]}"
        self.run = answer.value.json()["id"]

    def comes_to(self, state: str) -> None:
        """Waits for the end of the run, away from its page: the graph that it draws takes a processor. Then opens it."""
        self.page.goto("about:blank")
        headers = {"Authorization": f"Basic {base64.b64encode(self.secret.encode()).decode()}"}

        def final() -> str | None:
            answer = self.page.request.get(f"{self.origin}/api/flow_runs/{self.run}", headers=headers).json()["state"]
            return str(answer["name"]) if answer["type"] in FINAL else None

        assert until(f"the end of run {self.run}", final, RUN_SECONDS) == state
        self.opens(f"/v2/runs/flow-run/{self.run}")
        self.page.get_by_text(state, exact=True).first.wait_for()

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def log(self, last: str) -> str:
        """All that the tab of the run's log shows, which ends in these words."""
        self.page.set_viewport_size({"width": WIDTH, "height": LOG_HEIGHT})
        self.tab("Logs")
        self.page.get_by_role("log").get_by_text(last).wait_for()
        shown = self.page.get_by_role("log").inner_text()
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        return shown

    def artifact(self, page: str) -> None:
        """Opens the newest page of that name."""
        self.opens(f"/v2/artifacts/key/{PIPELINE}-{page}")
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()
        self.page.get_by_test_id("markdown-display").get_by_role("heading").first.wait_for()

    def text(self) -> str:
        """What an artifact's page shows; the UI may draw it once more behind its heading, and it is empty meanwhile."""
        display = self.page.get_by_test_id("markdown-display")
        return until("the text of an artifact", lambda: display.inner_text() or None, 30)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not THEIRS.search(message.text):
            self.errors.append(message.text)

    def asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:", "about:")) and request.failure is None:
            self.elsewhere.append(request.url)


@contextmanager
def signed_in(up: Up) -> Iterator[Ui]:
    """A browser that opened the sign-in link."""
    from playwright.sync_api import sync_playwright

    found = re.search(r"signed in: (\S+)", up.said)
    assert found, up.said
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(30_000)
        ui = Ui(page, found[1].partition("/contender/")[0], found[1].partition("#")[2])
        page.on("console", ui.heard)
        page.on("pageerror", lambda error: ui.errors.append(str(error)))
        page.context.on("requestfinished", ui.asked)
        page.goto(found[1])
        # The UI forgets who is signed in where a page is left before the server has answered it.
        page.get_by_role("link", name="Deployments", exact=True).wait_for()
        yield ui
        browser.close()


def take(folder: Path) -> None:
    """Every picture of the docs."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, stack(Path(place)) as up, signed_in(up) as ui:
        camera = Camera(ui, folder, place)
        ui.starts_a_run()
        ui.comes_to("Promoted")
        intents.drop(Path(place, "desk"))
        ui.starts_a_run()
        ui.comes_to("Promoted")
        ui.tab("Artifacts")
        ui.page.get_by_text(f"{PIPELINE}-result", exact=True).last.wait_for()
        camera.takes("run")
        ui.tab("Logs")
        camera.takes_the_log()
        for name in ("runs", "deployments"):
            ui.opens(f"/v2/{name}")
            camera.takes(name)
        for name in PAGES:
            ui.artifact(name)
            camera.takes(name)
        camera.takes_the_report()


@dataclass
class Camera:
    """Takes pictures of what a UI shows, as high as it is. `place`: the folder that everything is in."""

    ui: Ui
    folder: Path
    place: str

    def takes(self, name: str) -> None:
        page = self.ui.page
        page.mouse.move(0, 0)  # over nothing that would light up
        self.ui.settles()
        page.evaluate(RENAME, [self.place, NEUTRAL])
        page.set_viewport_size({"width": WIDTH, "height": max(HEIGHT, page.evaluate(NEEDED))})
        self.ui.settles()
        page.evaluate(RENAME, [self.place, NEUTRAL])
        save(page, self.folder / f"prefect-{name}.png")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def takes_the_log(self) -> None:
        """Its end alone: the UI cuts the log to a part of the window's height."""
        log = self.ui.page.get_by_role("log")
        self.ui.settles()
        log.evaluate("log => log.scrollTo(0, log.scrollHeight)")
        self.ui.settles()
        self.ui.page.evaluate(RENAME, [self.place, NEUTRAL])
        save(log, self.folder / "prefect-logs.png")

    def takes_the_report(self) -> None:
        """The report as the UI's link opens it, in both colour schemes."""
        page = self.ui.page
        self.ui.artifact("result")
        page.get_by_role("link", name="Report", exact=True).click()
        page.wait_for_url(re.compile("/contender/runs/"))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            self.ui.settles()
            save(page, self.folder / f"report-{scheme}.png")


def save(shown: Page | Locator, path: Path) -> None:
    """A picture with a palette of its own: a third of the bytes, and no difference that a reader sees."""
    from PIL import Image

    with Image.open(BytesIO(shown.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    take(Path(sys.argv[1]))
