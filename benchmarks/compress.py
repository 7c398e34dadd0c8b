"""One model, and the smaller ones that `compress` makes of it, side by side on Banking77: size, latency, accuracy.

    python -m benchmarks.compress [--rows 2000] [--epochs 4]

`full`: MiniLM as it is trained. `int8`: the same, quantised. `half alone`: every other layer of MiniLM, as DistilBERT began, trained on
the same rows. `half distilled`: that with the answers of `full` beside the labels. `half int8`: the distilled one, quantised. All are
timed in turn on the same 200 test rows, one at a time, then in batches of 32, and tried on all test rows. `--rows 0` takes all rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from benchmarks.finetune import BASE, contender_job, prepare, read
from contender.compressspec import Distill
from contender.evaluation.latency import EXAMPLES, time_models
from contender.files import describe_files
from contender.kinds import kind
from contender.models import resolve_base
from contender.records import ReleaseManifest
from contender.stages.compress import write_quantised
from contender.store import LocalStore
from contender.training.devices import wait_passively
from contender.training.launcher import Attempts, Job, run_job
from contender.training.options import Teacher

KIND = kind("text-classification")
ROUNDS = 10  # of one batch for each model, in turn


def train(folder: Path, job: Job) -> Path:
    name = Path(job.output).name
    report = run_job(job, folder / f"job-{name}", Attempts(LocalStore(folder), name))
    print(f"{name}: {report.seconds:.0f} s, {report.precision}", flush=True)
    return Path(job.output)


def half_of(base: Path, output: Path) -> Path:
    """Every other layer of the base, the first among them."""
    from torch import nn
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(base))
    model.encoder.layer = nn.ModuleList(list(model.encoder.layer)[::2])
    model.config.num_hidden_layers = len(model.encoder.layer)
    model.save_pretrained(str(output))
    KIND.load_processor(base).save_pretrained(str(output))
    return output


def models(folder: Path, labels: list[str], epochs: float) -> dict[str, Path]:
    half = str(half_of(Path(resolve_base(BASE, folder).path), folder / "half"))
    full = train(folder, contender_job(folder, labels, epochs, "full"))
    softness = Distill(to=half).model_dump(exclude={"to"})
    teacher = Teacher(folder=str(full), digest="", **softness)
    found = {"full": full, "int8": folder / "int8"}
    write_quantised(KIND, full, labels, found["int8"])
    found["half alone"] = train(folder, contender_job(folder, labels, epochs, "half-alone", half))
    learning = contender_job(folder, labels, epochs, "half-distilled", half).model_copy(update={"teacher": teacher})
    found |= {"half distilled": train(folder, learning), "half int8": folder / "half-int8"}
    write_quantised(KIND, found["half distilled"], labels, found["half int8"])
    return found


def timed(found: dict[str, Path], labels: list[str]) -> dict[str, tuple[float, float]]:
    """Median milliseconds of one example and of a batch of 32, on the CPU."""
    about: dict[str, Any] = {"kind": KIND.task, "columns": {}, "label_names": labels, "digest": "", "files": ()}
    loaded = [
        KIND.load(folder, ReleaseManifest(release=name, created="", **about), "cpu") for name, folder in found.items()
    ]
    texts = [text for text, _ in read("test.csv", EXAMPLES)]
    singles = time_models(loaded, [[{"text": text} for text in texts]] * len(loaded), seconds=120)
    batches: dict[int, list[float]] = {place: [] for place in singles}
    for start in range(ROUNDS):
        for place, model in enumerate(loaded):
            began = time.perf_counter()
            model.predict(texts[start * 16 : start * 16 + 32], batch_size=32)
            batches[place].append(1000 * (time.perf_counter() - began))
    return {
        name: (statistics.median(singles[place]), statistics.median(batches[place])) for place, name in enumerate(found)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="of train.csv, spread evenly; 0: all")
    parser.add_argument("--epochs", type=float, default=4)
    told = parser.parse_args()
    wait_passively()
    table = Table("model", "MB", "one example, ms", "32 examples, ms", "accuracy", title="Banking77, MiniLM, CPU")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, told.rows)
        labels = json.loads((folder / "labels.json").read_text())
        found = models(folder, labels, told.epochs)
        times = timed(found, labels)
        for name, model in found.items():
            outcomes = KIND.predict(model, folder / "test.arrow")
            right = pc.mean(pc.equal(outcomes["label"], outcomes["prediction"])).as_py()
            size = sum(file.size for file in describe_files(model)) / 1e6
            one, many = times[name]
            table.add_row(name, f"{size:.1f}", f"{one:.1f}", f"{many:.0f}", f"{right:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
