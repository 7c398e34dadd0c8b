"""Time and memory of the quality gate on millions of rows, beside Great Expectations on the whole table.

    python -m benchmarks.quality_gate                 # 5,000,000 rows; whole-table GX on 1,000,000
    python -m benchmarks.quality_gate --rows 500000 --whole 100000

Each measurement is a process of its own. Peak memory is the resident set as the kernel counts it, imports included; the row file is
made before, so its making does not count.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LABELS = [f"intent_{number:02d}" for number in range(77)]
WORDS = ["where", "is", "my", "card", "payment", "did", "not", "arrive", "please", "refund", "order", "twice"]
SHARES = {label: 1 / len(LABELS) for label in LABELS}
LIMIT = 1 << 30


def make_rows(path: Path, rows: int, seed: int = 7) -> None:
    """A row file of `rows` short texts: 2% duplicates, 0.1% nulls, 0.1% damaged, few torn duplicates."""
    import pyarrow as pa

    rng = random.Random(seed)
    schema = pa.schema(
        [
            ("body", pa.string()),
            ("intent", pa.string()),
            ("_file", pa.dictionary(pa.int32(), pa.string())),
            ("_row", pa.int64()),
        ]
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, rows, 10_000):
            numbers = range(start, min(start + 10_000, rows))
            texts = [_text(rng, number) for number in numbers]
            labels = [LABELS[number % 77] if rng.random() > 0.001 else None for number in numbers]
            files = pa.DictionaryArray.from_arrays(pa.array([0] * len(numbers), pa.int32()), ["data.csv"])
            writer.write_batch(
                pa.record_batch(
                    [pa.array(texts), pa.array(labels, pa.string()), files, pa.array(numbers)], schema=schema
                )
            )


def _text(rng: random.Random, number: int) -> str | None:
    drawn = rng.random()
    if drawn < 0.001:
        return None
    if drawn < 0.02:
        number = number // 2  # said before; with the same label where the numbers agree modulo 77
    words = " ".join(WORDS[number // place % len(WORDS)] for place in (1, 7, 41, 239, 1511, 9001, 52027))
    return f"{words} {number}" + (" \ufffd" if drawn > 0.999 else "")


def gate(rows: Path) -> dict[str, Any]:
    """One run of the gate; called in a process of its own."""
    from contender.quality.gate import check
    from contender.quality.suites import load_suite

    imported = _peak()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=rows.parent) as out:
        report = check(
            rows,
            load_suite("text_classification.yaml", Path()),
            {"text": "body", "label": "intent"},
            Path(out),
            suite_name="text_classification.yaml",
            bad_rows="quarantine",
            max_bad_fraction=0.2,
            reference_label_shares=SHARES,
        )
    return {"seconds": time.monotonic() - started, "imported": imported, "said": report.message}


def whole_table(rows: Path) -> dict[str, Any]:
    """The same expectations in Great Expectations on one pandas frame."""
    import great_expectations as gx
    import pyarrow as pa
    from great_expectations.validator.v1_validator import Validator

    from contender.quality.engine import build_suite
    from contender.quality.plan import make_plan
    from contender.quality.suites import load_suite

    imported = _peak()
    started = time.monotonic()
    suite = load_suite("text_classification.yaml", Path())
    plan = make_plan(suite, {"reference_label_shares": SHARES, "reference_labels": LABELS}, ["text", "label"])
    with pa.memory_map(str(rows)) as source, pa.ipc.open_stream(source) as stream:
        frame = stream.read_all().select(["body", "intent"]).rename_columns(["text", "label"]).to_pandas()
    batch = (
        gx.get_context(mode="ephemeral")
        .data_sources.add_pandas("p")
        .add_dataframe_asset("p")
        .add_batch_definition_whole_dataframe("p")
    )
    complete = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    result = Validator(batch, complete, {"dataframe": frame}).validate_expectation_suite(
        build_suite("whole", plan.planned)
    )
    return {"seconds": time.monotonic() - started, "imported": imported, "said": str(result.statistics)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(kind: str, rows: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.quality_gate", "--child", kind, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--whole", type=int, default=1_000_000, help="rows for whole-table GX; 0 leaves it out")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, path = arguments.child
        measured = {"gate": gate, "whole": whole_table}[kind](Path(path))
        print(json.dumps({**measured, "peak": _peak()}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return _report(Path(folder), arguments.rows, arguments.whole)


def _report(folder: Path, rows: int, whole: int) -> int:
    wanted = [("gate", rows)] + ([("gate", whole), ("whole", whole)] if whole else [])
    names = {"gate": "Contender's gate", "whole": "GX, whole table in pandas"}
    print(f"{'':26} {'rows':>10} {'seconds':>8} {'rows/s':>9} {'peak MiB':>9} {'of it imports':>14}")
    measured: dict[tuple[str, int], dict[str, Any]] = {}
    for kind, count in wanted:
        file = folder / f"{count}.arrow"
        if not file.exists():
            make_rows(file, count)
        one = measured[kind, count] = measure(kind, file)
        peak, imported = one["peak"] / 2**20, one["imported"] / 2**20
        print(
            f"{names[kind]:26} {count:>10,} {one['seconds']:>8.1f} {count / one['seconds']:>9,.0f} {peak:>9,.0f} {imported:>14,.0f}"
        )
    print(f"\n{rows:,} rows: {measured['gate', rows]['said']}")
    if whole:
        ours, theirs = measured["gate", whole], measured["whole", whole]
        print(
            f"at {whole:,} rows the gate takes {ours['seconds'] / theirs['seconds']:.2f} times the time of whole-table GX and "
            f"{ours['peak'] / theirs['peak']:.2f} times its memory"
        )
    within = measured["gate", rows]["peak"] < LIMIT
    print(f"peak at {rows:,} rows is {'under' if within else 'OVER'} 1 GiB")
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
