"""A person in front of the Prefect UI: starts a run by its button, reads its pages, opens the report by its link."""

from __future__ import annotations

import re
from collections.abc import Iterator

import browser
import intents
import pytest
from browser import Ui

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or ""),
]

STAGES = [
    *("snapshot", "gate", "split", "train", "release", "evaluate", "judge"),
    *("explain", "latency", "report", "promote"),
]
HOSTILE = "<img src=x onerror=alert(1)> [x](javascript:alert(1)).csv"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI in front of a run that was started by its button, and came to Promoted."""
    folder = tmp_path_factory.mktemp("browser")
    with browser.stack(folder) as up, browser.signed_in(up) as found:
        intents.write(folder / "desk" / "tickets" / HOSTILE, intents.rows(60, seed=7))
        (folder / "desk" / "tickets" / "readme.md").write_text("no data")
        found.page.on("dialog", lambda dialog: found.errors.append(f"a dialog: {dialog.message}"))
        found.starts_a_run()
        found.comes_to("Promoted")
        yield found


def test_a_run_is_named_tagged_and_logged(ui: Ui) -> None:
    ui.opens("/v2/runs")
    name = ui.page.get_by_role("link", name=re.compile(r"^support-intents · manual · [0-9a-f]{8}$")).first
    name.click()
    told = re.findall(r"^(\w+): (?!started)", ui.log("Finished in state Promoted"), re.MULTILINE)
    assert list(dict.fromkeys(told)) == STAGES
    ui.opens("/v2/runs?tags=outcome%3Apromoted")
    ui.page.get_by_role("link", name=re.compile("^support-intents · manual · ")).first.wait_for()


def test_every_page_shows_what_its_stage_found(ui: Ui) -> None:
    shown = {}
    for name in browser.PAGES:
        ui.artifact(name)
        shown[name] = ui.text()
    assert shown["verdict"].startswith("✓ PROMOTE")
    assert "every floor is reached" in shown["verdict"] and "Floor: accuracy, at least 20.0%" in shown["verdict"]
    assert "360 rows in 2 files" in shown["snapshot"] and "readme.md" in shown["snapshot"]
    assert HOSTILE in shown["snapshot"], "a name is shown as it is"
    assert "The data is good enough" in shown["quality"]
    assert "left training: its text is a held-out row's" in shown["split"]
    assert re.search(r"\d+ steps in", shown["training"]) and re.search("[▁▂▃▄▅▆▇█]{5}", shown["training"])
    assert "1 model" in shown["leaderboard"] and "challenger" in shown["leaderboard"]
    assert "golden-hard-cases, 120 rows" in shown["comparison"] and "F1 (macro)" in shown["comparison"]
    assert shown["result"].startswith("✓ Promoted") and "production" in shown["result"]


def test_the_report_and_data_docs_open_by_their_links(ui: Ui) -> None:
    for link, words in (("Report", "support-intents"), ("Data Docs", "Validation")):
        ui.artifact("result")
        ui.page.get_by_role("link", name=link, exact=True).click()
        ui.page.wait_for_url(re.compile("/contender/runs/"))
        ui.page.get_by_text(re.compile(words)).first.wait_for()
    ui.page.get_by_role("link", name="Expectations").first.click()
    ui.page.wait_for_url(re.compile("/expectations.html$"))


def test_a_page_of_a_run_cannot_read_what_signs_the_ui_in(ui: Ui) -> None:
    ui.artifact("result")
    ui.page.get_by_role("link", name="Report", exact=True).click()
    ui.page.wait_for_url(re.compile("/contender/runs/"))
    assert (
        ui.page.evaluate("() => { try { return localStorage.length } catch (error) { return error.name } }")
        == "SecurityError"
    )
    assert ui.page.evaluate("() => origin") == "null"


def test_nothing_was_asked_of_other_hosts_and_nothing_failed(ui: Ui) -> None:
    assert (ui.elsewhere, ui.errors) == ([], [])
