"""A small pipeline whose data mean harm: in texts, labels, columns, names of files, and in what is typed about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from desk import tickets

import expectations

HOST = "evil.example"
ACTS = {
    "script": "<script>document.title='owned';alert(1)</script>",
    "image": f"<img src=http://{HOST}/i.png onerror=\"document.title='owned'\">",
    "frame": f"</td></table></pre></details><iframe src=//{HOST}/f></iframe><svg onload=alert(2)>",
    "link": f"](javascript:alert(1)) [x](http://{HOST}/l) <http://{HOST}/a> www.{HOST}",
    "picture": f"![x](http://{HOST}/p.png) `| # *b* <!--",
    "formula": "=cmd|' /C calc'!A0",
    "template": "{{7*7}} {% raw %} {# x #} ${HOME} %(x)s \\1",
    "bell": "<!channel> @here <@U1>",
    "markup": "[bold red]rich[/] [link=http://evil.example]x[/link]",
}
CONTROLS = {
    "clear": "\x1b[2J\x1b[31mred\x1b[?25l",
    "title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;http://evil.example\x07x\x1b]8;;\x07",
    "c1": "\x9b2J\x90q\x9c\x85",
    "override": "\u202egnp.exe\u202c\u2066x\u2069\u200f",
    "invisible": "a\u200bb\u2060c\ufeff\u2028d\U000e0041",
    "bytes": "nul \x00 bell \x07 \r\n back\b",
}
EVERYTHING = " ".join([*ACTS.values(), *CONTROLS.values()])
# A column and a file cannot hold all of it: no NUL, and no slash in a file's name.
COLUMN = f"<b onclick=alert(1)>x</b> {ACTS['link']}\n# comment\nname: owned {CONTROLS['clear']}{CONTROLS['override']}"
FILE = f"<img src=x onerror=alert(1)>](javascript:1) {CONTROLS['clear']}{CONTROLS['override']}=1+1 <!channel>\n"

TEN_MEGABYTES = 10_000_000
# What only rows hold.
MARK, MAIL, NUMBER = "purpleowl", "jo.doe7@mail.example", "4930123456"
PRIVATE = f"{MARK} {MAIL} {NUMBER}"

LABELS = {
    "red": f"{ACTS['script']}{ACTS['image'][:60]}\u202e",
    "green": f"{ACTS['formula']} {ACTS['template']} {ACTS['bell']}",
    "blue": f"{ACTS['picture']}{ACTS['link']}",
}
PIPELINE = """\
name: hostile
task: text-classification
data:
  source: tickets/
  columns: {{text: body, label: kind}}
  split: {{test: 0.3, validation: 0.15}}
  golden: {{hard: {golden}}}
quality: {{suite: suite.yaml, max_bad_fraction: 0.2}}
model: {{base: {base}}}
train: {{epochs: 3, batch_size: 16, learning_rate: 5.0e-3, head_learning_rate: 5.0e-3, precision: fp32, early_stopping: 0}}
evaluate: {{slices: [{column}]}}
promote: {{guards: {{slices: {{max_drop: 0.9}}, golden: {{max_drop: 0.9}}}}}}
notify: {{on: [promoted, kept, rejected, failed], to: [env:HOOK]}}
"""
# Expectations that look at texts as a whole: what they observe is a row, and so is what they stumble over.
SUITE = """
  - type: expect_column_distinct_values_to_be_in_set
    kwargs: {column: text, value_set: [x]}
    severity: warning
  - type: expect_column_most_common_value_to_be_in_set
    kwargs: {column: text, value_set: [x]}
    severity: warning
  - type: expect_column_values_to_match_regex
    kwargs: {column: text, regex: ^nothing$}
    severity: info
"""


def make(folder: Path, base: Path) -> Path:
    """The pipeline's file; beside it its suite, its golden set and an empty folder of tickets."""
    (folder / "tickets").mkdir(parents=True)
    golden = folder / f"{FILE.strip()}.jsonl"
    disagreeing = [{"body": f"=1+1 {EVERYTHING} {PRIVATE}", "kind": label, COLUMN: "=1+1"} for label in LABELS.values()]
    write_rows(golden, [*rows(60, seed=9), *disagreeing])
    given = {"golden": json.dumps(golden.name), "column": json.dumps(COLUMN), "base": base}
    (folder / "hostile.yaml").write_text(PIPELINE.format(**given), encoding="utf-8")
    shipped = Path(expectations.__file__).with_name("text_classification.yaml").read_text("utf-8")
    (folder / "suite.yaml").write_text(shipped.rstrip() + "\n" + SUITE.strip("\n") + "\n", encoding="utf-8")
    return folder / "hostile.yaml"


def rows(count: int, seed: int, wrong: float = 0.0) -> list[dict[str, Any]]:
    """Rows that can be learnt, every text with something hostile in it, and with something that is nobody's business."""
    acts = [*ACTS.values(), *(CONTROLS[name] for name in ("override", "invisible"))]
    made = tickets(count, seed, wrong=wrong)
    return [
        {"body": f"{text} {acts[n % len(acts)]} {PRIVATE}", "kind": LABELS[colour], COLUMN: acts[n % len(acts)]}
        for n, (text, colour) in enumerate(made)
    ]


def bad_rows() -> Iterator[dict[str, Any]]:
    """Rows that the gate sets apart, one after the other for another reason."""
    for text in CONTROLS.values():
        yield {"body": f"{text} {PRIVATE}", "kind": LABELS["red"], COLUMN: EVERYTHING}
        yield {"body": f"a text {PRIVATE}", "kind": f"{text} {ACTS['formula']}", COLUMN: text}
    yield {"body": "\ud800 half a pair", "kind": "\udc00", COLUMN: "\ud800"}
    for label in LABELS.values():
        yield {"body": f"=1+1 disagrees {PRIVATE}", "kind": label, COLUMN: "=1+1"}


def huge_rows() -> Iterator[dict[str, Any]]:
    """The same, of ten megabytes and one."""
    yield {"body": f"{EVERYTHING} {PRIVATE} " * (TEN_MEGABYTES // len(EVERYTHING)), "kind": LABELS["red"], COLUMN: ""}
    yield {"body": f"another text {PRIVATE}", "kind": EVERYTHING * 2_000, COLUMN: "x" * 1_000_000}


def write_rows(path: Path, found: list[dict[str, Any]]) -> Path:
    """JSON Lines, whose escapes hold whatever there is."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    return path


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
