"""Rows per second and peak memory of reading and splitting, at several sizes: memory must not grow with rows.

    python benchmarks/snapshot.py [rows…]          default: 100000 1000000

Each measurement runs in a process of its own; the peak is the process's largest resident set, less what imports took.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

WORDS = [f"word{n}" for n in range(3_000)]
CASES = {
    "csv": "Arrow's csv parser",
    "odd.csv": "csv with one faulty row at its end: read again, carefully",
    "jsonl": "JSON lines",
}


def generate(path: Path, rows: int) -> None:
    """Short texts of eight words, fifty labels; a fifth of the csv texts are quoted."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8") as out:
        if path.suffix == ".csv":
            out.write("text,label,channel\n")
        for n in range(rows):
            text = " ".join(chance.choices(WORDS, k=8)) + f" {n}"
            if path.suffix == ".jsonl":
                out.write(json.dumps({"text": text, "label": f"l{n % 50}", "channel": "mail"}) + "\n")
            else:
                out.write((f'"{text}, ok"' if n % 5 == 0 else text) + f",l{n % 50},mail\n")
        if path.name.startswith("odd"):
            out.write("only,two\n")


def measure(path: Path) -> dict[str, float]:
    """Seconds and peak mebibytes of each stage, in this process."""
    import numpy as np
    import pyarrow.csv  # noqa: F401 - its import is no part of the stages

    import contender.data.ingest  # noqa: F401
    from contender.data.source import ReadOptions, ingest, peek
    from contender.data.split import NORMALISER, split
    from contender.records import SplitDefinition

    before, folder, options = peak(), path.parent, ReadOptions()
    started = time.perf_counter()
    seen = peek(path.name, options, base=folder)
    looked = time.perf_counter()
    rows = folder / "rows.arrow"
    read = ingest(path.name, seen, options, rows, base=folder, required=["text", "label"])
    ingested, ingest_peak = time.perf_counter(), peak()
    valid = np.flatnonzero(np.arange(read.rows) < read.rows - path.name.startswith("odd"))
    np.save(folder / "admitted.npy", valid)
    dealing = time.perf_counter()
    definition = SplitDefinition(key="text", test=0.15, validation=0.1, salt="s", normaliser=NORMALISER)
    split(rows, folder / "admitted.npy", {"text": "text", "label": "label"}, ["channel"], definition, {}, folder)
    return {
        "rows": read.rows,
        "peek": looked - started,
        "ingest": ingested - looked,
        "split": time.perf_counter() - dealing,
        "ingest_peak": ingest_peak - before,
        "split_peak": peak() - before,
    }


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(sizes: list[int]) -> None:
    table = Table("input", "rows", "peek s", "ingest s", "rows/s", "peak MiB", "split s", "rows/s", "peak MiB")
    for ending, what in CASES.items():
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, ending if "." in ending else f"rows.{ending}")
                generate(path, size)
                done = subprocess.run([sys.executable, __file__, "--measure", path], stdout=subprocess.PIPE, check=True)
                got = json.loads(done.stdout)
            figures = [f"{got['rows']:,}", f"{got['peek']:.2f}"]
            for stage in ("ingest", "split"):
                figures += [f"{got[stage]:.2f}", f"{got['rows'] / got[stage]:,.0f}", f"{got[stage + '_peak']:.0f}"]
            table.add_row(what, *figures)
    Console(width=140).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
