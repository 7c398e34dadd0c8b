"""Rows, names and words that mean harm, sent through every output of a pipeline: none acts, and none says what it may not."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile
import pytest
from desk import Ran
from hostile import EVERYTHING, MAIL, MARK, NUMBER
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from receivers import Receiver, receiving
from screens import OnScreen, contender
from workers import until

from contender.loading import load_pipeline
from contender.run import RunResult
from contender.showing.markdown import PAGE_BYTES
from contender.text import ACTING
from deployments.cli import main
from deployments.server import ServerInfo
from flows.retrain import retrain
from flows.states import results_kept

pytestmark = pytest.mark.slow

# What rich sends to a terminal: colours, its cursor up and hidden, a line erased.
OURS = re.compile(r"\x1b\[(?:[\d;]*m|\d*[AK]|\?25[lh]|[12]K)")
TYPED = EVERYTHING.replace("\0", "")  # no argument holds a NUL
Speaking = Callable[[ServerInfo], AbstractContextManager[ServerInfo]]


@dataclass
class Left:
    """Everything that the runs left, by what it is and who made it."""

    folder: Path
    full_report: Path = Path()  # with rows as they are
    shown: dict[str, str] = field(default_factory=dict)  # on a terminal that is a pipe
    documents: dict[str, Any] = field(default_factory=dict)
    drawn: dict[str, str] = field(default_factory=dict)  # on a terminal, as it was sent
    artifacts: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)  # names, tags, states and logs of the server
    told: dict[str, str] = field(default_factory=dict)  # to receivers of notifications

    @property
    def pipeline(self) -> Path:
        return self.folder / "hostile.yaml"

    def registry(self, name: str) -> dict[str, bytes]:
        files = [path for path in (self.folder / name).rglob("*") if path.is_file() and path.suffix != ".safetensors"]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}

    def everywhere(self, mode: str) -> dict[str, str]:
        """All that left the workspace under a mode of `report.examples`."""
        found = {name: data.decode(errors="replace") for name, data in self.registry(mode).items()}
        for kind in ("shown", "drawn", "artifacts", "words", "told"):
            mine = {name: text for name, text in getattr(self, kind).items() if name.startswith(mode)}
            assert mine or kind == "drawn", kind
            found |= {f"{kind} {name}": text for name, text in mine.items()}
        return found | {f"--json {name}": text for name, text in self.documents.items() if name.startswith(mode)}


@pytest.fixture(scope="module")
def left(
    tmp_path_factory: pytest.TempPathFactory,
    background_server: ServerInfo,
    speaking_to: Speaking,
    checking_here: Callable[[pytest.MonkeyPatch], None],
    tiny_base: Path,
) -> Iterator[Left]:
    """Three verdicts and two refusals: of a first model, of a second one in a terminal, and of an edited rule with every row shown."""
    left = Left(tmp_path_factory.mktemp("hostile"))
    hostile.make(left.folder, tiny_base)
    tickets = left.folder / "tickets"
    with speaking_to(background_server), receiving(Receiver()) as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOK", receiver.url)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("CONTENDER_ACTOR", TYPED)
        patch.chdir(left.folder)
        checking_here(patch)
        do = Doing(left, receiver)
        first = [*hostile.rows(180, seed=1, wrong=0.67), *hostile.bad_rows()]
        hostile.write_rows(tickets / f"1{hostile.FILE}.jsonl", first)
        huge = hostile.write_rows(tickets / "huge.jsonl", list(hostile.huge_rows()))
        assert do.run("redacted first").code == 0
        huge.unlink()
        hostile.write_rows(tickets / f"2{hostile.FILE}.jsonl", hostile.rows(450, seed=2))
        do.on_screen("redacted second")
        assert do.run("none first").code == 0
        do.flow("full", *options("full"), "promote.floors={accuracy: 0.9999}")
        wrong = hostile.write_rows(tickets / "3.jsonl", [{**row, "body": " "} for row in hostile.rows(300, seed=3)])
        assert do.run("redacted refused").code == do.run("none refused").code == 4
        wrong.unlink()
        yield left


def options(name: str) -> list[str]:
    mode = name.split()[0]
    return [f"promote.to={mode}", f"report.examples={mode}"]


@dataclass
class Doing:
    """Runs the pipeline in different ways, and keeps what each left."""

    left: Left
    receiver: Receiver

    def run(self, name: str) -> Ran:
        given = [word for one in options(name) for word in ("--set", one)]
        ran = call("run", str(self.left.pipeline), "--json", "--actor", TYPED, *given)
        self.left.shown[name], self.left.documents[name] = ran.shown, ran.document
        self._keep(name, json.loads(ran.document)["flow_run_id"])
        return ran

    def on_screen(self, name: str) -> None:
        given = [word for one in options(name) for word in ("--set", one)]
        line = contender("run", str(self.left.pipeline), "--json", *given)
        screen = OnScreen(line, self.left.folder, {}, width=100)
        code, text = screen.end()
        assert code in (0, 3), text
        self.left.drawn[name] = screen.raw
        found = re.search('"flow_run_id": "([0-9a-f-]{36})"', screen.raw)
        assert found
        self._keep(name, found[1])

    def flow(self, name: str, *given: str) -> None:
        """As whoever starts a deployment may: with a trigger of their own words."""
        pipeline = load_pipeline(self.left.pipeline, given)
        with results_kept() as kept:
            state = retrain(pipeline, trigger=EVERYTHING, actor=EVERYTHING, return_state=True)
        (result,) = kept
        assert isinstance(result, RunResult) and state.name == "Kept", state
        self.left.full_report = Path(str(result.report))
        self._keep(name, str(result.flow_run_id))

    def _keep(self, name: str, flow_run_id: str) -> None:
        """What the server and the receiver have of a run."""
        with get_client(sync_client=True) as client:
            only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))

            def log() -> str:
                text = "\n".join(line.message for line in client.read_logs(only))
                return text if "told env:HOOK" in text else ""

            run = client.read_flow_run(flow_run_id)
            mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
            tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
            states = [one.state.message or "" for one in (run, *tasks) if one.state]
            self.left.words |= {
                f"{name} log": until("the log", log, 20),
                f"{name} names": "\n".join([run.name, *run.tags, *(one.name for one in tasks)]),
                f"{name} states": "\n".join(states),
            }
            for artifact in client.read_artifacts(artifact_filter=mine):
                self.left.artifacts[f"{name} {artifact.key} said"] = artifact.description or ""
                self.left.artifacts[f"{name} {artifact.key}"] = str(artifact.data)
        self.left.told |= {f"{name} {n}": text for n, one in enumerate(self.receiver.payloads) for text in one.values()}
        self.receiver.payloads.clear()


def call(*arguments: str) -> Ran:
    """A command whose output goes to files; its document as it was printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    assert "Traceback" not in err.getvalue() and "internal error" not in err.getvalue(), err.getvalue()
    return Ran(code, out.getvalue(), err.getvalue())


def acting(text: str, keep: str = "\n") -> list[str]:
    return [character for character in ACTING.findall(text) if character not in keep]


# --- pages ------------------------------------------------------------------------------------------------------------


def pages(left: Left) -> list[Path]:
    """The reports of the registry and of the workspace, Data Docs, and a difference."""
    page = left.folder / "difference.html"
    if not page.exists():
        names = [path.name for path in sorted((left.folder / "redacted" / "hostile" / "releases").iterdir())]
        assert call("diff", f"{left.folder}/redacted/hostile@{names[0]}", names[1], "--html", str(page)).code == 0
    found = [*left.folder.rglob("report.html"), *left.folder.rglob("data_docs/*.html"), page]
    found += (left.folder / ".contender" / "reports").iterdir()
    assert len(found) >= 3 + 2 + 1 + 3
    return found


def test_no_page_holds_a_tag_that_a_row_brought(left: Left) -> None:
    for path in pages(left):
        text = path.read_text("utf-8")
        found = hostile.Tags(text).found
        assert not {"script", "iframe", "object", "img", "form", "base", "link"} & {tag for tag, _ in found}, path
        attributes = [(name, value or "") for _, given in found for name, value in given.items()]
        assert not [one for one in attributes if one[0].startswith("on") or one[0] in ("src", "srcdoc")], path
        assert not [value for name, value in attributes if name == "href" and ":" in value], path
        assert not acting(text), path
        assert "default-src 'none'" in text and path.stat().st_size < 3_000_000, path
        assert "7*7" in text or "{{" not in text, path


def test_in_a_browser_no_page_asks_for_anything_or_does_anything(left: Left) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make .venv/.docs")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    newest = {path.name: path for path in pages(left)}  # one of each kind
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in [*newest.values(), left.full_report]:
            happened: list[str] = []
            page = browser.new_page()
            page.on("console", lambda one, to=happened: to.append(one.text))
            page.on("dialog", lambda one, to=happened: (to.append(one.message), one.dismiss()))
            page.on("request", lambda one, to=happened: to.append(one.url))
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            page.wait_for_timeout(100)
            assert happened == [path.as_uri()], path
            assert page.title() != "owned"
            page.close()
        browser.close()


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_spreadsheet_computes_nothing_and_a_terminal_obeys_nothing(left: Left) -> None:
    files = [*left.folder.rglob("quarantine.csv"), *left.folder.rglob("conflicts.csv")]
    assert {path.name for path in files} == {"quarantine.csv", "conflicts.csv"}
    for path in files:
        with path.open(encoding="utf-8", newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert len(cells) > 10 and not [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@"))], path
        assert not acting("".join(cells), keep=""), path
        assert path.stat().st_size < 2_000_000


def test_what_programs_read_is_json_of_a_size(left: Left) -> None:
    files = {name: data for mode in ("redacted", "none") for name, data in left.registry(mode).items()}
    documents = [json.loads(data) for name, data in files.items() if name.endswith(".json")]
    assert len(documents) > 20 and max(map(len, files.values())) < 1_000_000
    for name, text in left.documents.items():
        assert not acting(text), name
        assert text.count("\n") == 1 and len(text) < 100_000 and json.loads(text)["outcome"], name


# --- the Prefect UI ---------------------------------------------------------------------------------------------------


def renders_to_text(name: str, text: str) -> None:
    """No link but to our own server, no picture, no tag, and no bare address, of which GitHub and Prefect's UI make links."""
    from markdown_it import MarkdownIt

    assert not acting(text) and len(text.encode()) <= PAGE_BYTES + 100, name
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    tokens = [one for token in parsed for one in (token, *(token.children or ()))]
    links = [str(one.attrs["href"]) for one in tokens if one.type == "link_open"]
    assert all(link.startswith("http://127.0.0.1:") for link in links), (name, links)
    raw = [one for one in tokens if one.type in ("image", "html_block", "html_inline", "code_block")]
    assert not [one for one in raw if one.content != "<!---->"], (name, raw)
    written = re.sub(r"\]\(<http://127\.0\.0\.1:[^>]*>\)", "", text)
    assert not re.search(r"(https?:|www)(?!<!---->)(//|\.)(?!127)", written), name


def test_an_artifact_and_a_model_card_render_to_text(left: Left) -> None:
    cards = {str(path): path.read_text("utf-8").split("\n---\n", 1)[1] for path in left.folder.rglob("*/e-*/README.md")}
    assert len(left.artifacts) > 60 and len(cards) == 4
    for name, text in {**left.artifacts, **cards}.items():
        renders_to_text(name, text)


def test_names_tags_states_and_logs_hold_nothing_that_acts_and_have_an_end(left: Left) -> None:
    assert len(left.words) == 3 * 6
    for name, text in left.words.items():
        assert not acting(text), name
        assert max(map(len, text.splitlines())) <= 2_100 and len(text) < 60_000, name


def test_who_is_told_sees_plain_words(left: Left) -> None:
    assert len({name.rsplit(" ", 1)[0] for name in left.told}) == 6
    for name, text in left.told.items():
        assert not acting(text) and len(text) < 2_500, name
        assert not re.search(r"[<>`*@]|\]\(|\{\{", text), (name, text)


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_a_terminal_is_sent_what_rich_sends_and_nothing_else(left: Left) -> None:
    target = f"{left.folder}/redacted/hostile"
    names = [path.name for path in sorted((left.folder / "redacted" / "hostile" / "releases").iterdir())]
    given = [word for one in options("redacted") for word in ("--set", one)]
    lines = {
        "history": ["history", target, "--verbose", "--json"],
        "releases": ["releases", target, "--verbose", "--json"],
        "diff": ["diff", f"{target}@{names[0]}", names[1], "--json"],
        "check": ["check", str(left.pipeline), "--json", *given],
        "judge": ["judge", f"{target}@{names[1]}", names[0], "--json"],
        "report": ["report", target, "--json", "--out", TYPED.replace("/", "")[:200]],
    }
    drawn = dict(left.drawn)
    for name, line in lines.items():
        ran = call(*line)
        assert ran.code in (0, 3), ran.shown
        assert not acting(ran.shown), name
        assert not acting(ran.document) and json.loads(ran.document), name
        if name in ("history", "check"):
            screen = OnScreen(contender(*line), left.folder, {}, width=80)
            assert screen.end()[0] in (0, 3), screen.seen.text
            drawn[name] = screen.raw
    assert len(drawn) == 3
    for name, text in drawn.items():
        assert not acting(OURS.sub("", text), keep="\r\n"), name


@pytest.mark.parametrize("name", ["promote", "rollback", "diff", "check", "run", "init", "report", "verify", "noise"])
def test_what_is_typed_comes_back_harmless(left: Left, name: str) -> None:
    target = f"{left.folder}/redacted/hostile"
    lines = {
        "promote": ["promote", target, TYPED, "--reason", TYPED],
        "rollback": ["rollback", f"{target}@{TYPED}", "--reason", TYPED, "--actor", TYPED],
        "diff": ["diff", f"{target}@{TYPED}", TYPED],
        "run": ["run", TYPED, "--set", TYPED],
        "init": ["init", TYPED],
        "noise": ["noise", str(left.pipeline), "--set", f"name={json.dumps(TYPED)}"],
    }
    for word in (TYPED, os.fsdecode(b"\xff\x9b2J"), TYPED * 100):
        line = [word if one == TYPED else one for one in lines.get(name, [name, TYPED])]
        ran = call(*line, "--json")
        assert ran.code in (1, 2), ran.shown
        assert not acting(ran.shown) and not acting(ran.document), name
        assert json.loads(ran.document)["outcome"] in ("failed", "invalid")


def test_a_reason_in_any_words_is_kept_and_shown_harmless(left: Left, tmp_path: Path) -> None:
    shutil.copytree(left.folder / "redacted", tmp_path / "copy")
    target = f"{tmp_path}/copy/hostile"
    for word in (TYPED, os.fsdecode(b"\xff\x9b2J")):
        releases = json.loads(call("releases", target, "--json").document)["releases"]
        other = next(one["release"] for one in releases if not one["aliases"])
        for line in (["promote", target, other], ["rollback", target]):
            ran = call(*line, "--reason", word, "--actor", word, "--json")
            assert ran.code == 0, ran.shown
            history = call("history", target, "--json")
            for text in (ran.shown, ran.document, history.shown, history.document):
                assert not acting(text)


def test_the_pipeline_that_init_writes_says_what_init_says_and_no_more(left: Left, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    made = tmp_path / "made.yaml"
    ran = call("init", str(next((left.folder / "tickets").iterdir())), "--out", str(made), "--json")
    assert ran.code == 0 and not acting(ran.shown) and not acting(ran.document), ran.shown
    text = made.read_text("utf-8")
    assert not acting(text) and len(text) < 10_000
    written = YAML(typ="safe").load(text)
    assert [*written] == ["name", "task", "data", "quality", "model", "evaluate", "promote"]
    assert written["data"]["columns"] == {"text": "body", "label": "kind"}


# --- what rows hold ---------------------------------------------------------------------------------------------------


def test_under_redacted_no_address_and_no_number_of_a_row_leaves_the_workspace(left: Left) -> None:
    found = left.everywhere("redacted")
    assert len(found) > 60
    for name, text in found.items():
        assert MAIL.split("@")[0] not in text and NUMBER not in text, name
    assert any(MARK in text for name, text in found.items() if name.endswith("report.html")), "texts are shown"


def test_under_none_no_row_leaves_the_workspace(left: Left) -> None:
    found = left.everywhere("none")
    assert len(found) > 30 and not [name for name, text in found.items() if MARK in text]


def test_full_shows_rows_in_the_report_and_nowhere_else(left: Left) -> None:
    assert MAIL in left.full_report.read_text("utf-8")
    kept = {**left.artifacts, **left.words, **left.told}
    assert not [name for name, text in kept.items() if MARK in text]
