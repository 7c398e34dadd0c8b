"""The code blocks of README.md and docs/: what each is, and the shell ones of a page run in order as a reader would.

Above a block an HTML comment may say, invisible to the reader:

    <!-- not run: needs two machines -->     why no test runs it
    <!-- exits: 4 -->                        the exit code that its last command ends with
    <!-- tested: github -->                  its name, for a test that picks it out

tests/core/test_docs_snippets.py keeps the account: a block without a reason is run by the test that `RUN_BY` names for its page, or
read by the check for its language.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "sh", "console")
MARK = re.compile(r"<!-- (not run|exits|tested): (.+?) -->\s*$")

# Page → the test that runs its blocks. A page that is not here has none that needs a run.
HERE = "tests/e2e/test_docs.py"
RUN_BY = {
    "docs/tutorial.md": f"{HERE}::test_the_tutorial_takes_less_than_ten_minutes_and_ends_as_it_says",
    **{
        f"docs/{page}.md": f"{HERE}::test_a_page_does_what_it_says"
        for page in (
            "how-to/data",
            "how-to/expectations",
            "how-to/rules",
            "how-to/golden-sets",
            "how-to/ci",
            "how-to/roll-back",
            "how-to/private-models",
            "how-to/s3",
            "how-to/clean-up",
            "serving",
        )
    },
    "docs/notifications.md": "tests/tasks/test_receivers.py::test_the_recipes_of_the_docs_reach_the_services_that_they_are_for",
    "docs/webhooks.md": "tests/gateway/test_docs.py::test_an_example_of_the_page_is_taken",
    "docs/operations.md": "tests/e2e/test_operations.py::test_a_pipeline_is_deployed_and_promoted_through_it_and_a_backup_"
    "brings_its_history_back",
}


@dataclass(frozen=True)
class Block:
    """One fenced block, and what the comment above it says."""

    page: str
    line: int
    language: str
    name: str
    text: str
    marks: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def left_out(self) -> str | None:
        return self.marks.get("not run")


def pages() -> list[str]:
    """README.md and every page of the site, as paths from the repository's root."""
    found = [path for path in (ROOT / "docs").rglob("*.md") if "_site" not in path.parts]
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in found)]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    tokens = MarkdownIt("commonmark").parse((ROOT / page).read_text(encoding="utf-8"))
    found = []
    marks: dict[str, str] = {}
    for token in tokens:
        if token.type == "html_block":
            marks |= {match[1]: match[2] for line in token.content.splitlines() if (match := MARK.match(line.strip()))}
        elif token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            title = re.search(r'title="([^"]+)"', rest)
            line = (token.map or [0])[0] + 1
            found.append(Block(page, line, language, title[1] if title else "", token.content, marks))
            marks = {}
        elif token.nesting != -1 and token.type not in ("list_item_open", "ordered_list_open", "bullet_list_open"):
            assert not marks, f"{page}: the comment {marks} stands above no block"
    return found


def named(page: str) -> dict[str, str]:
    """The blocks of a page that have a title: title → text."""
    return {block.name: block.text for block in blocks(page) if block.name}


def run(page: str, folder: Path, environment: dict[str, str], places: dict[str, str] | None = None) -> str:
    """Does in `folder` what the page says, block by block; what was printed. A block with a title is a file, and is written.

    `places` replaces what only the reader has, such as a bucket, by what the test has.
    """
    shown = []
    for block in blocks(page):
        text = block.text
        for name, place in (places or {}).items():
            text = text.replace(name, place)
        if block.name and block.left_out is None:
            (folder / block.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.name).write_text(text, encoding="utf-8")
        elif block.left_out is None and block.language in (*SHELL, "python"):
            shown.append(_ran(block, text, folder, environment))
    assert shown, f"{page} has no block to run"
    return "\n".join(shown)


def _ran(block: Block, text: str, folder: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == int(block.marks.get("exits", "0")), f"{block.where}\n{text}\n{done.stdout}"
    assert "Traceback" not in done.stdout, f"{block.where}\n{text}\n{done.stdout}"
    return done.stdout


def reader(home: Path) -> dict[str, str]:
    """The environment of somebody who follows a page: our commands on the path, a home of their own, no server of anybody's."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "CONTENDER_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    places = {"CONTENDER_HOME": str(home / "home"), "CONTENDER_CACHE": str(home / "cache"), "PATH": path}
    return given | places | {"COLUMNS": "100"}
