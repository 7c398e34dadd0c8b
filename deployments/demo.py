"""Four data drops of a support desk through the real command line: what `make demo` runs.

    python -m deployments.demo [--folder DIR]

Every start tells the whole story in a fresh folder; an earlier demo in that folder is removed, anything else is refused. Exit
code 0 where every drop came to what the story promises, 1 where one did not, and the run's own where it was interrupted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from contender.errors import ContenderError, Interrupted, UsageError
from contender.text import terminal_safe

SOURCES = Path(__file__).resolve().parent.parent / "pipelines" / "demo"
MARKER = ".contender-demo"
NAME = "support-desk"
Document = dict[str, Any]


class StoryBroken(ContenderError):
    """A run did not come to what the demo promises."""


@dataclass(frozen=True)
class Demo:
    """Where the demo plays, and how it speaks."""

    folder: Path
    out: Console

    @property
    def pipeline(self) -> Path:
        return self.folder / f"{NAME}.yaml"

    @property
    def registry(self) -> Path:
        return self.folder / "registry"


@dataclass(frozen=True)
class Drop:
    """One drop: what arrives, what the run must come to, and what is worth a look afterwards."""

    number: int
    title: str
    story: str
    outcome: str
    exit_code: int
    afterwards: Callable[[Demo, Document], None]


# --- after each drop --------------------------------------------------------------------------------------------------


def after_first(demo: Demo, run: Document) -> None:
    promise(run["alias_entry"] == 1 and not run["champion"], "the first champion is entry 1", run)
    say(demo, f"The floor was the only rule. {run['release']} answers from now on.")


def after_better(demo: Demo, run: Document) -> None:
    rule = next((rule for rule in run["verdict"]["rules"] if rule["p_value"] is not None), None)
    promise(rule is not None and rule["p_value"] < rule["alpha"], "the gain is significant", run)
    assert rule is not None
    before, after = (run["evaluations"]["test"][side]["accuracy"] for side in ("champion", "challenger"))
    say(
        demo,
        f"On the same {rule['rows']} held-out tickets the champion is right on {before:.1%}, the challenger on {after:.1%}. "
        f"By chance alone: p = {rule['p_value']:.1g}; asked for: below {rule['alpha']:.3f}.",
    )


def after_bad(demo: Demo, run: Document) -> None:
    promise(bool(run["quarantine"]), "the rows are named", run)
    say(
        demo,
        "Nothing was trained and the champion stays. Of the rows in the quarantine file, the first for each reason:",
    )
    for row in one_per_reason(Path(run["quarantine"]), "2026-11.jsonl"):
        text = f"  {row['_file']} row {row['_row']}: {row['reasons']}"
        demo.out.print(
            Text.assemble(terminal_safe(text), (terminal_safe(f"  {shortened(row['body'])} → {row['intent']}"), "dim"))
        )


def after_nothing(demo: Demo, run: Document) -> None:
    promise(not run["stages"], "no stage runs", run)
    say(demo, "The folder holds what drop 2 left, and that was decided: no stage ran, no server was asked.")


def one_per_reason(quarantine: Path, file: str) -> list[dict[str, str]]:
    """The first row of `file` for each reason; a row may have several."""
    seen: set[str] = set()
    shown = []
    with quarantine.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            reasons = set(row["reasons"].split("; "))
            if row["_file"] == file and reasons - seen:
                seen |= reasons
                shown.append(row)
    return shown


def shortened(text: str, length: int = 44) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


DROPS = (
    Drop(
        1,
        "a first month of e-mails",
        "September's tickets of a support desk, each labelled with one of fourteen intents. There is no model yet.",
        "promoted",
        0,
        after_first,
    ),
    Drop(
        2,
        "new data: chats and phone calls",
        "The desk opens a chat and a phone line. The first model has never seen how people write and talk there.",
        "promoted",
        0,
        after_better,
    ),
    Drop(
        3,
        "bad data",
        "November's export is broken: nulls and blanks, unknown intents, two encodings in one file, contradicting duplicates.",
        "rejected_data",
        4,
        after_bad,
    ),
    Drop(
        4, "nothing new", "The broken export is withdrawn, and no other file arrives.", "up_to_date", 0, after_nothing
    ),
)


# --- running ----------------------------------------------------------------------------------------------------------


def play(demo: Demo) -> None:
    """The whole story. StoryBroken where a run does not come to what it promises, Interrupted where one was stopped."""
    started = time.monotonic()
    runs = [play_drop(demo, drop) for drop in DROPS]
    demo.out.rule("[bold]What the registry remembers", align="left", style="dim")
    history = contender(demo, "history", NAME, "--registry", str(demo.registry))
    live = history["entries"][-1]["release"]
    promise(live == runs[1]["release"], "drop 2's release is live", history)
    show_places(demo, runs, time.monotonic() - started)


def play_drop(demo: Demo, drop: Drop) -> Document:
    demo.out.rule(f"[bold]Drop {drop.number}: {drop.title}", align="left", style="dim")
    say(demo, drop.story)
    subprocess.run([sys.executable, SOURCES / "drops.py", demo.folder / "tickets", str(drop.number)], check=True)
    run = contender(demo, "run", str(demo.pipeline), expected=drop.exit_code)
    promise(run["outcome"] == drop.outcome, f"drop {drop.number} comes to {drop.outcome}", run)
    drop.afterwards(demo, run)
    demo.out.print()
    return run


def contender(demo: Demo, *arguments: str, expected: int = 0) -> Document:
    """Runs the command line as a user would; its progress and tables go to the terminal, its JSON document comes back."""
    demo.out.print(Text(f"$ contender {shlex.join(arguments)}", style="bold cyan"))
    with tempfile.TemporaryFile() as answer:
        child = subprocess.Popen([command_path(), *arguments, "--json"], stdout=answer)
        code = wait(child)
        answer.seek(0)
        text = answer.read()
    if code in (75, 130) or code < 0:
        raise Interrupted("the demo was interrupted", "Start it again: it begins afresh.", resumable=code == 75)
    document = json.loads(text) if text.strip() else {}
    promise(code == expected, f"contender {arguments[0]} ends with exit code {expected}, not {code}", document)
    return dict(document)


def wait(child: subprocess.Popen[bytes]) -> int:
    """The child's exit code. A signal to the demo is the child's to act on: Ctrl-C reaches it by itself, SIGTERM is passed on."""
    with passing_on(signal.SIGTERM, child):
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


@contextmanager
def passing_on(number: signal.Signals, child: subprocess.Popen[bytes]) -> Iterator[None]:
    before = signal.signal(number, lambda *_: child.send_signal(number))
    try:
        yield
    finally:
        signal.signal(number, before)


def command_path() -> str:
    """The console script of this environment, as the shell would have to name it."""
    script = Path(sysconfig.get_path("scripts")) / "contender"
    if not script.is_file():
        raise UsageError(f"there is no command {script}", "Install Contender into this environment: pip install -e .")
    return str(script)


def promise(kept: bool, what: str, document: Document) -> None:
    if not kept:
        said = document.get("message") or document.get("error") or document.get("outcome") or "no answer"
        raise StoryBroken(f"the demo promises that {what}; the run said: {said}")


# --- the frame --------------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """A fresh folder with the pipeline in it. UsageError where something stands there that no demo made."""
    if not (SOURCES / "drops.py").is_file():
        raise UsageError(
            f"the demo's data generator is not at {SOURCES}", "Run the demo from a clone of the repository."
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "Name another: --folder DIR")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise UsageError(f"{folder} is not empty and was not made by the demo", "Name another: --folder DIR")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text("Made by the demo, which removes this folder when it starts again.\n")
        shutil.copy(SOURCES / f"{NAME}.yaml", folder)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}", "Name another: --folder DIR") from error


def show_places(demo: Demo, runs: Sequence[Document], seconds: float) -> None:
    demo.out.rule("[bold green]Done", align="left", style="dim")
    say(demo, f"Four drops in {seconds // 60:.0f} min {seconds % 60:.0f} s.")
    places = (
        ("registry", demo.registry / NAME),
        ("report", runs[1]["report"]),
        ("bad rows", runs[2]["quarantine"]),
        ("data docs", runs[2]["data_docs"]),
        ("run history", f"{demo.registry / NAME / 'decisions'}, shown above; in the Prefect UI, task by task"),
    )
    for label, place in places:
        demo.out.print(f"  {label:<12}{place or '-'}", markup=False)
    demo.out.print("\nWhat to type next:")
    name = shown_command()
    for arguments, why in next_commands(demo):
        demo.out.print(Text.assemble(f"  {name} {arguments}", (f"   # {why}", "dim")))


def next_commands(demo: Demo) -> tuple[tuple[str, str], ...]:
    registry = shlex.quote(str(demo.registry))
    ui = () if os.environ.get("PREFECT_API_URL") else (("up", "the Prefect UI: every run of this demo, task by task"),)
    return (
        *ui,
        (f"pull {NAME} my-model --registry {registry}", "the live model, every file verified"),
        (f"run {shlex.quote(str(demo.pipeline))} --set train.epochs=2", "try another setting: only better goes live"),
        ("init YOUR_DATA", "a commented pipeline for your own csv, jsonl or parquet"),
    )


def shown_command() -> str:
    """`contender` where the shell finds ours by that name, else its path."""
    ours = Path(command_path())
    found = shutil.which("contender")
    if found and Path(found).resolve() == ours.resolve():
        return "contender"
    return os.path.relpath(ours) if ours.is_relative_to(Path.cwd()) else str(ours)


def say(demo: Demo, text: str) -> None:
    demo.out.print(terminal_safe(text), markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.demo", description="Four data drops of a support desk.", allow_abbrev=False
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("demo"), metavar="DIR", help="where it plays (default: demo)"
    )
    options = parser.parse_args(argv)
    # One line per sentence where the output is no terminal: a log is searched, not read at 80 columns.
    out = Console(highlight=False, soft_wrap=True)
    try:
        prepare(options.folder)
        play(Demo(options.folder, out))
    except ContenderError as error:
        out.print(Text.assemble(("error: ", "bold red"), terminal_safe(str(error), keep_newlines=True)))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
