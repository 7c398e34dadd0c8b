"""A small made-up desk whose model trains in seconds, and what a command left."""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue")
PIPELINE = """\
name: desk
task: text-classification
data:
  source: tickets/
  columns: {{text: body, label: colour}}
  split: {{test: 0.3, validation: 0.15}}
model:
  base: {base}
train: {{epochs: 6, batch_size: 16, learning_rate: 5.0e-3, head_learning_rate: 5.0e-3, precision: fp32, early_stopping: 0}}
quality: {{max_bad_fraction: 0.1}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command left: exit code, its one document, and what a person saw."""

    code: int
    document: Any
    shown: str


@dataclass(frozen=True)
class Desk:
    """A folder with a pipeline and its tickets."""

    folder: Path
    run: Callable[..., Ran]

    @property
    def pipeline(self) -> Path:
        return self.folder / "desk.yaml"

    @property
    def registry(self) -> Path:
        return self.folder / ".contender" / "registry"

    def drop(self, name: str, rows: Iterable[tuple[str, str]]) -> Path:
        return write_tickets(self.folder / "tickets" / name, rows)

    def retrain(self, *more: str) -> Ran:
        return self.run("run", str(self.pipeline), "--json", *more)


def once(desk: Desk, kept: Path, fill: Callable[[Desk], None]) -> None:
    """Fills a desk; of all tests that keep theirs in the folder `kept` the first one pays for it, and the others get a copy."""
    if kept.exists():
        shutil.copytree(kept, desk.folder, dirs_exist_ok=True)
        return
    fill(desk)
    shutil.copytree(desk.folder, kept)


def start(desk: Desk, *more: str, command: str = "run", **environment: str) -> subprocess.Popen[str]:
    """A run, or another command on the pipeline, in a process of its own."""
    script = Path(sys.executable).parent / "contender"
    line = [script, command, str(desk.pipeline), "--json", *more]
    environment = dict(os.environ) | environment
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(run: subprocess.Popen[str], words: str) -> None:
    """Reads what the run shows up to a line with these words."""
    assert run.stderr is not None
    seen = []
    for line in run.stderr:
        seen.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never shown:\n{''.join(seen)}")


def until_checkpoint(desk: Desk, run: subprocess.Popen[str]) -> None:
    """The training is at work, and has kept something."""
    deadline = time.monotonic() + 120
    while not any((desk.folder / ".contender").glob("jobs/*/checkpoints/[0-9]*/checkpoint.json")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write_tickets(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("body", "colour"))
        writer.writerows(rows)
    return path


def tickets(count: int, seed: int, colours: tuple[str, ...] = COLOURS, wrong: float = 0.0) -> list[tuple[str, str]]:
    """Texts that name one colour among filler words; a share `wrong` carries another colour's label."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        colour = colours[number % len(colours)]
        words = dice.sample([f"word{n}" for n in range(60)], dice.randint(3, 8))
        for _ in range(4):
            words.insert(dice.randrange(len(words) + 1), colour)
        label = dice.choice([c for c in COLOURS if c != colour]) if dice.random() < wrong else colour
        rows.append((" ".join(words), label))
    return rows
