"""What surviving costs, and what a death costs: `python -m benchmarks.recovery [--rows 2000] [--epochs 2] [--kills 3]`.

all-MiniLM-L6-v2 on Banking77 rows, through the same `run_job` that a run uses.

* checkpoint: seconds and megabytes of one, and the share of the training time that they take by the clock.
* kill -9 of the training process alone, and of the process that started it (its training process then ends by itself, and the same
  job is started again): seconds from the kill to the next new training step, and the steps that were trained twice.

Every disturbed training ends with the files of the undisturbed one, or the benchmark ends with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.finetune import contender_job, prepare
from contender.files import describe_files
from contender.store import LocalStore
from contender.training.launcher import Attempts, CheckpointOptions, Progress, run_job

MODULE = "benchmarks.recovery"


@dataclass
class Death:
    """One kill: what was told before it, and what after."""

    seconds: float  # from the kill to the next new step
    repeated: int  # steps


@dataclass
class Ways:
    """Deaths by who was killed."""

    deaths: dict[str, list[Death]] = field(default_factory=lambda: {"training": [], "parent": []})


def train(folder: Path, epochs: float, name: str, every: float, steps: int) -> None:
    """The process that is killed, or whose child is: a line per message of the training."""

    def told(progress: Progress) -> None:
        print(json.dumps({"step": progress.step, "phase": progress.phase}), flush=True)

    job = contender_job(folder, json.loads((folder / "labels.json").read_text()), epochs, f"{name}-model")
    cadence = CheckpointOptions(every=every, steps=steps or None)
    attempts = Attempts(LocalStore(folder), name)
    report = run_job(job, folder / name, attempts, checkpoint=cadence, max_recoveries=100, on_progress=told)
    (folder / f"{name}.json").write_text(json.dumps(report.figures()))


class Training:
    """A running `train`, followed line by line."""

    def __init__(self, folder: Path, epochs: float, name: str, every: float, steps: int) -> None:
        command = [sys.executable, "-m", MODULE, "--train", name, "--folder", str(folder)]
        command += ["--epochs", str(epochs), "--every", str(every), "--steps", str(steps)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def steps(self) -> Iterator[int]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if message["phase"] == "training":
                yield int(message["step"])

    def training_process(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "contender.training.job" in child.cmdline())

    def end(self) -> None:
        if self.process.wait() != 0:
            raise SystemExit("the training failed")


def undisturbed(folder: Path, epochs: float, name: str, every: float, steps: int) -> dict[str, float]:
    training = Training(folder, epochs, name, every, steps)
    for _ in training.steps():
        pass
    training.end()
    found: dict[str, float] = json.loads((folder / f"{name}.json").read_text())
    return found


def disturbed(folder: Path, epochs: float, name: str, who: str, at: int, steps: int) -> Death:
    """Kills `who` at step `at`, and follows the training to its end."""
    training = Training(folder, epochs, name, 1e6, steps)
    death: Death | None = None
    killed, last, resumed = 0.0, 0, None
    followed = training.steps()
    for step in followed:
        last = step
        if step >= at:
            break
    killed = time.monotonic()
    if who == "training":
        training.training_process().kill()
    else:
        training.process.kill()
        for step in followed:  # what it had said before
            last = step
        training.process.wait()
        training = Training(folder, epochs, name, 1e6, steps)
        followed = training.steps()
    for step in followed:
        if resumed is None and who == "training" and step >= last:
            last = step  # still what the dead one had said
            continue
        resumed = step if resumed is None else resumed
        if death is None and step > resumed:
            death = Death(time.monotonic() - killed, last - resumed)
    training.end()
    assert death is not None
    return death


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def report(out: Console, costs: dict[str, dict[str, float]], ways: Ways, size: float, steps: int) -> None:
    table = Table("training", "seconds", "checkpoints", "seconds each", "share of the time")
    for name, figures in costs.items():
        each = figures["checkpoint_seconds"] / figures["checkpoints"] if figures["checkpoints"] else 0.0
        share = f"{figures['checkpoint_share']:.2%}"
        table.add_row(name, f"{figures['seconds']:.1f}", str(int(figures["checkpoints"])), f"{each:.2f}", share)
    out.print(table, f"one checkpoint: {size:,.0f} MB")
    table = Table("killed", "times", "seconds to the next new step", "steps trained twice", "at most, by the interval")
    for who, deaths in ways.deaths.items():
        seconds = [death.seconds for death in deaths]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        table.add_row(who, str(len(deaths)), spread, ", ".join(str(d.repeated) for d in deaths), str(steps))
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--kills", type=int, default=3, help="of each kind")
    parser.add_argument(
        "--steps", type=int, default=20, help="between two checkpoints of the trainings that are killed"
    )
    parser.add_argument("--every", type=float, default=15, help="seconds between checkpoints by the clock")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.folder, options.epochs, options.train, options.every, options.steps)
        return
    with tempfile.TemporaryDirectory(prefix="contender-recovery-") as temporary:
        folder, dice = Path(temporary), random.Random(options.seed)
        prepare(folder, options.rows)
        costs = {
            "none": undisturbed(folder, options.epochs, "none", 1e6, 0),
            f"every {options.every:g} s": undisturbed(folder, options.epochs, "clock", options.every, 0),
            f"every {options.steps} steps": undisturbed(folder, options.epochs, "steps", 1e6, options.steps),
        }
        size = max(megabytes(path) for path in (folder / "steps" / "checkpoints").iterdir())
        total, ways = int(costs["none"]["steps"]), Ways()
        for number in range(options.kills):
            for who, deaths in ways.deaths.items():
                at = dice.randrange(options.steps + 1, total - options.steps)
                deaths.append(disturbed(folder, options.epochs, f"{who}{number}", who, at, options.steps))
                print(f"killed {who} at step {at} of {total}: {deaths[-1]}", file=sys.stderr)
        expected = describe_files(folder / "none-model")
        for path in folder.glob("*-model"):
            if describe_files(path) != expected:
                raise SystemExit(f"{path.name} differs from the undisturbed training's model")
        report(Console(width=int(os.environ.get("COLUMNS", "120"))), costs, ways, size, options.steps)
        print("every model has the sha256s of the undisturbed one")


if __name__ == "__main__":
    main()
