"""What `contender check` says before anything is trained: rows, steps, and the smallest gain that the held-out set can show."""

from __future__ import annotations

import math
from pathlib import Path

from contender.judging.judge import smallest_gain
from contender.models import resolve_base
from contender.plan import columns, judged_set
from contender.records import Record, Snapshot
from contender.run import find_decision, open_run
from contender.spec import Pipeline
from contender.stages.data import look, take_snapshot
from contender.text import listed, shorten, shorten_keys

LARGE_GAIN = 0.03  # a set that cannot show three points keeps most better models from being promoted


class Plan(Record):
    """What a run would do."""

    pipeline: str
    base: str
    files: int
    rows: int
    labels: dict[str, int]
    expected_rows: dict[str, int]
    steps: int
    judged_on: str
    smallest_gain: float | None
    champion: str | None
    decided: bool
    warnings: tuple[str, ...]

    def lines(self) -> list[tuple[str, str]]:
        sets = ", ".join(f"{name} about {rows:,}" for name, rows in self.expected_rows.items())
        gain = (
            f"{self.smallest_gain:.1%} of accuracy with 80% power"
            if self.smallest_gain is not None
            else "nothing: too few rows"
        )
        return [
            ("pipeline", self.pipeline),
            ("base model", self.base),
            (
                "data",
                f"{self.files:,} file{'' if self.files == 1 else 's'}, {self.rows:,} rows, {len(self.labels)} labels",
            ),
            ("sets", sets),
            ("training", f"at most {self.steps:,} steps"),
            ("judged on", f"{self.judged_on}; smallest gain that it can show: {gain}"),
            ("champion", self.champion or "none yet: the first release needs only the floors"),
            (
                "now",
                "this data is decided already; a run would end as up to date" if self.decided else "a run would train",
            ),
        ]


def check(pipeline: Pipeline) -> Plan:
    """Reads the data as a run would (and keeps what it read for that run); trains nothing, writes nothing to the registry."""
    base = resolve_base(pipeline.spec.model.base, Path(pipeline.folder))
    run = open_run(pipeline, actor="")
    seen = look(run)
    snapshot = take_snapshot(run, seen)
    labels = _label_counts(snapshot.folder / "source.arrow", columns(pipeline)["label"])
    expected = _expected_rows(pipeline, snapshot.record)
    gain = smallest_gain(expected[judged_set(pipeline)], pipeline.spec.promote.versus_champion.confidence)
    entry = run.registry.champion(pipeline.spec.promote.alias)
    train = pipeline.spec.train
    return Plan(
        pipeline=pipeline.spec.name,
        base=f"{base.name}, sha256 {base.digest[:12]}",
        files=len(snapshot.record.source.files),
        rows=snapshot.record.source.rows,
        labels=shorten_keys(labels),
        expected_rows=expected,
        steps=math.ceil(expected["train"] / train.batch_size * train.epochs),
        judged_on=judged_set(pipeline),
        smallest_gain=gain,
        champion=entry.release if entry else None,
        decided=find_decision(run, snapshot.record) is not None,
        warnings=tuple(_warnings(gain, labels, snapshot.record)),
    )


def _label_counts(rows: Path, column: str) -> dict[str, int]:
    """Rows of each label, as text like in every later stage, the commonest first; rows without a label belong to none."""
    import pyarrow.compute as pc

    from contender.data.source import open_rows
    from contender.data.values import as_text

    counts = pc.value_counts(as_text(open_rows(rows).data.column(column)).drop_null()).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counts, key=lambda entry: -entry["counts"])}


def _expected_rows(pipeline: Pipeline, snapshot: Snapshot) -> dict[str, int]:
    split, rows = pipeline.spec.data.split, snapshot.source.rows
    test, validation = round(rows * split.test), round(rows * split.validation)
    golden = {f"golden-{name}": held.rows for name, held in snapshot.golden.items()}
    return {
        "train": rows - test - validation,
        "validation": validation,
        **({"test": test} if split.test else {}),
        **golden,
    }


def _warnings(gain: float | None, labels: dict[str, int], snapshot: Snapshot) -> list[str]:
    found = [f"skipped {shorten(file.path, 300)}: {file.reason}" for file in snapshot.source.skipped[:20]]
    if gain is None or gain > LARGE_GAIN:
        shown = "no gain" if gain is None else f"only gains above {gain:.1%}"
        found.append(
            f"the held-out set can show {shown}: most better models will end as inconclusive; hold out more rows"
        )
    rare = [label for label, count in labels.items() if count < 2]
    if rare:
        found.append(f"{len(rare)} labels have a single row, such as {listed(rare[:1])}")
    return found
