"""Whether a machine's GPU does what Contender promises: `python -m benchmarks.gpu [--base BASE] [--epochs 5] [--only training,bytes]`.

all-MiniLM-L6-v2 on Banking77, through the same `run_job`, `predict` and `load` that a run uses; each part in a process of its own, with
a time limit. One line for each promise, kept or broken, beside the figures; exits with 1 where one is broken or a part failed.

* devices: which GPUs there are; one training at a time on each; the stages of this process compute on the one that was taken.
* training: all rows with the defaults: examples a second, accuracy, energy by the GPU's counter beside what its power adds up to.
* speed: the same step in every number format, and with deterministic algorithms.
* bytes: a training killed with -9 twice ends with the files of two undisturbed ones, in every
  number format, for adapters (LoRA) and for the last layer alone.
* memory: where memory is short, fewer examples at once and as many per step; where one does not fit, a sentence.
* answers: the GPU's beside the processor's, from many threads, and their explanations; the paired latency of a model beside itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.finetune import BASE, DATA, contender_job, prepare, read, write
from contender.files import describe_files
from contender.gpus import hold_gpu, visible_gpus
from contender.store import LocalStore
from contender.training.launcher import Attempts, CheckpointOptions, Job, Progress, run_job

MODULE = "benchmarks.gpu"
LIMIT = 240.0  # seconds of one part
PRECISIONS = ("fp32", "bf16", "fp16")
SAME = (  # what is trained three times: number format, deterministic, method
    *((precision, sure, "full") for sure in (True, False) for precision in PRECISIONS),
    ("bf16", True, "lora"),
    ("fp32", True, "head"),
)
SAME_BATCH, SAME_STEPS = 16, 15  # examples a step, steps between two checkpoints
SHORT_BATCH, SHORT_BYTES, TINY_BYTES = 512, 1 << 30, 64 << 20  # GPU memory that a training may take
AS_CPU, SURELY_DEVICE = 1e-4, 1e-3  # probabilities, logits: fp32 on two devices adds up in other orders


@dataclass
class Desk:
    """Where a part works, and what it is told; what it finds goes to a file line by line, so that a part that hangs has told the rest."""

    folder: Path
    base: str
    epochs: float
    part: str

    def figure(self, name: str, value: object) -> None:
        self._say(kind="figure", name=name, value=str(value))

    def promise(self, kept: bool, name: str, value: object = "") -> None:
        self._say(kind="kept" if kept else "broken", name=name, value=str(value))

    def job(self, rows: str, output: str, epochs: float, **options: Any) -> Job:
        folder = self.folder / rows
        labels = json.loads((folder / "labels.json").read_text())
        return contender_job(folder, labels, epochs, f"{self.part}-{output}", base=self.base, **options)

    def run(self, job: Job, name: str, **how: Any) -> Any:
        folder = self.folder / f"{self.part}-{name}"
        return run_job(job, folder, Attempts(LocalStore(self.folder), f"{self.part}-{name}"), **how)

    def _say(self, **line: str) -> None:
        with (self.folder / f"{self.part}.jsonl").open("a") as stream:
            print(json.dumps(line), file=stream)


# --- the parts ----------------------------------------------------------------------------------------------------------


def devices(desk: Desk) -> None:
    import torch

    from contender.training.devices import best_device, computing_on, hardware

    found = visible_gpus()
    desk.promise(bool(found), "the driver names a GPU", ", ".join(found))
    desk.figure("hardware", ", ".join(hardware(best_device()).values()))
    desk.figure("torch", torch.__version__)
    others: list[subprocess.Popen[bytes]] = []
    with hold_gpu() as environment:
        for _ in found:
            code = "from contender.gpus import hold_gpu\nwith hold_gpu(): pass"
            others.append(subprocess.Popen([sys.executable, "-P", "-c", code]))
        time.sleep(5)
        waiting = sum(other.poll() is None for other in others)
        desk.promise(waiting >= 1 or len(found) > 1, "a GPU that is taken is waited for")
        with computing_on(environment):
            held = environment.get("CUDA_VISIBLE_DEVICES", "")
            used = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
            desk.promise(held.endswith(used), "what is taken is computed on", used)
            torch.ones(1 << 28, device=best_device()).sum().item()
        desk.promise(torch.cuda.memory_reserved() == 0, "and given back with its memory")
    desk.promise(all(other.wait(timeout=30) == 0 for other in others), "and then taken by who waited")


def training(desk: Desk) -> None:
    from contender.kinds import kind

    job, power = desk.job("all", "model", desk.epochs), Power()
    began = time.monotonic()
    with hold_gpu() as environment, power.sampling():
        report = desk.run(job, "job", environment=environment, on_progress=power.told)
    desk.promise(report.device == "cuda", "it trained on the GPU", f"{report.device}, {report.precision}")
    desk.figure("number format", f"{report.precision}: {report.precision_reason}")
    desk.figure("seconds, whole job", f"{time.monotonic() - began:.1f}")
    desk.figure("seconds in the loop, its evaluations included", f"{report.seconds:.1f}")
    desk.figure("steps, examples", f"{report.steps}, {report.examples}")
    desk.figure("examples/s, evaluations included", f"{report.examples_per_second:.0f}")
    desk.figure("best on validation", report.best_metric)
    outcomes = kind("text-classification").predict(Path(job.output), desk.folder / "all" / "test.arrow")
    hits = [
        a == b for a, b in zip(*(outcomes.column(name).to_pylist() for name in ("label", "prediction")), strict=True)
    ]
    desk.figure("accuracy on test", f"{100 * statistics.mean(hits):.2f} of {len(hits)} rows")
    joules = report.energy_kwh * 3.6e6 if report.energy_kwh else 0.0
    desk.promise(report.energy_source == "nvml", "the GPU's counter told the energy", f"{joules:.0f} J")
    watts = joules / max(report.seconds, 1e-9)
    desk.figure("watts, by the counter and by samples of its power", f"{watts:.0f}, {power.mean():.0f}")
    desk.promise(0.7 < watts / max(power.mean(), 1e-9) < 1.4, "and it is what its power adds up to")


class Power:
    """The GPU's power as its driver tells it five times a second, while a training is in its loop."""

    def __init__(self) -> None:
        self._watts: list[float] = []
        self._phase = ""

    def told(self, progress: Progress) -> None:
        self._phase = progress.phase

    @contextmanager
    def sampling(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._sample, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _sample(self, over: threading.Event) -> None:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(visible_gpus()[0])
        while not over.wait(0.2):
            if self._phase in ("training", "evaluating"):
                self._watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)

    def mean(self) -> float:
        return statistics.mean(self._watts) if self._watts else 0.0


def speed(desk: Desk) -> None:
    """In one process, one training after another: the first pays for what a device does once and is not told."""
    from contender.child import Voice
    from contender.training.finetune import finetune
    from contender.training.monitor import Monitor, Stop
    from contender.training.options import Attempt

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    ways = [("bf16", False), *((precision, sure) for sure in (False, True) for precision in PRECISIONS)]
    for place, (precision, sure) in enumerate(ways):
        job = desk.job("some", f"{place}", 1, precision=precision, deterministic=sure)
        folder = desk.folder / f"speed-{place}"
        folder.mkdir()
        report = finetune(job, folder, Monitor(Voice(None), Stop()), Attempt())
        if place:
            desk.figure(f"examples/s, {precision}{', deterministic' * sure}", f"{report.examples_per_second:.0f}")


def same_bytes(desk: Desk, precision: str, sure: bool, method: str) -> None:
    """Deterministic algorithms promise the same bytes; without them it is told how it came out."""
    models = []
    for name, kills in (("first", 0), ("second", 0), ("killed", 2)):
        options = {"precision": precision, "deterministic": sure, "method": method, "batch_size": SAME_BATCH}
        job = desk.job("few", name, 20 if method == "head" else 3, **options)
        killer = Killer(kills)
        report = desk.run(
            job,
            f"{name}-job",
            checkpoint=CheckpointOptions(steps=SAME_STEPS),
            max_recoveries=5,
            on_checkpoint=killer.checkpoint,
        )
        models.append(describe_files(Path(job.output)))
        if report.recoveries != kills:
            raise SystemExit(f"{report.recoveries} recoveries instead of {kills}")
    told = desk.promise if sure else (lambda kept, name: desk.figure(name, "yes" if kept else "no"))
    told(models[1] == models[0], "the same training again gives the same bytes")
    told(models[2] == models[0], f"killed twice in {report.steps} steps, the same bytes")


class Killer:
    """Kills the training process with -9 at its first checkpoints."""

    def __init__(self, times: int) -> None:
        self.times = times

    def checkpoint(self, folder: Path) -> None:
        import psutil

        if self.times:
            self.times -= 1
            next(c for c in psutil.Process().children() if "contender.training.job" in c.cmdline()).kill()


def memory(desk: Desk) -> None:
    from contender.errors import OutOfMemory

    options = {"batch_size": SHORT_BATCH, "precision": "fp32"}
    told: list[str] = []
    job = desk.job("long", "short", 1, **options)
    report = desk.run(job, "short-job", environment=_limited(desk, SHORT_BYTES), on_recovery=told.append)
    limit = f"{SHORT_BYTES >> 20} MiB and {SHORT_BATCH} examples a step"
    smaller = report.micro_batch_size < SHORT_BATCH and report.recoveries == 0
    desk.promise(smaller, f"with {limit}, fewer at once", f"{report.micro_batch_size}, {report.steps} steps")
    desk.figure("told meanwhile", " / ".join(told))
    try:
        desk.run(desk.job("few", "tiny", 1, batch_size=2), "tiny-job", environment=_limited(desk, TINY_BYTES))
        desk.promise(False, f"with {TINY_BYTES >> 20} MiB it is refused")
    except OutOfMemory as error:
        desk.promise("one example at a time does not fit" in error.what, "with no room at all, a sentence", error.what)


def _limited(desk: Desk, size: int) -> dict[str, str]:
    """The environment of a process whose torch gets so many bytes of the GPU and is out of memory beyond them."""
    folder = desk.folder / f"limit-{size}"
    folder.mkdir()
    lines = ("import torch", "total = torch.cuda.get_device_properties(0).total_memory")
    (folder / "sitecustomize.py").write_text(
        "\n".join((*lines, f"torch.cuda.set_per_process_memory_fraction({size} / total)"))
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", str(Path.cwd()))])}


def _released(desk: Desk) -> tuple[Path, list[str]]:
    """The model of `training` as a pull leaves it, and texts to ask it about."""
    from contender.records import ReleaseDraft
    from contender.registry import Registry

    model, folder = desk.folder / "all" / "training-model", desk.folder / f"{desk.part}-pulled"
    labels = tuple(json.loads((desk.folder / "all" / "labels.json").read_text()))
    registry = Registry(LocalStore(desk.folder / f"{desk.part}-registry"), "benchmark")
    about = {"kind": "text-classification", "columns": {"text": "text", "label": "label"}, "label_names": labels}
    registry.fetch(registry.stage(model, ReleaseDraft.model_validate(about)).release, folder)
    return folder, [text for text, _ in read("test.csv", 1000)]


def processor(desk: Desk) -> None:
    """What the processor answers, for `answers`; no GPU is to be seen here."""
    import contender
    from contender.kinds import kind

    folder, texts = _released(desk)
    model = contender.load(folder)
    began = time.monotonic()
    scores = [dict(sorted(one.scores.items())) for one in model.predict(texts)]
    desk.figure("rows/s on the processor", f"{len(texts) / (time.monotonic() - began):.0f}")
    rows = desk.folder / "all" / "explained.arrow"
    write(rows, [(text, "") for text in texts[:20]])
    answers = {row: max(scores[row], key=scores[row].__getitem__) for row in range(20)}
    found = kind("text-classification").explain(folder, rows, answers)
    spans = {one.row: [span.weight for span in one.spans] for one in found}
    (desk.folder / "processor.json").write_text(json.dumps({"scores": scores, "spans": spans, "answers": answers}))


def answers(desk: Desk) -> None:
    import contender
    from contender.kinds import kind

    expected = json.loads((desk.folder / "processor.json").read_text())
    folder, texts = _released(desk)
    model, again = contender.load(folder), contender.load(folder)
    desk.promise(model.device.startswith("cuda"), "a release is loaded onto the GPU", model.device)
    began = time.perf_counter()
    model.warm_up()
    warm = time.perf_counter()
    model.predict(texts[:1])
    desk.figure(
        "ms of warm_up, and of the first answer after it",
        f"{1e3 * (warm - began):.0f}, {1e3 * (time.perf_counter() - warm):.1f}",
    )
    began = time.monotonic()
    given = model.predict(texts)
    desk.figure("rows/s on the GPU", f"{len(texts) / (time.monotonic() - began):.0f}")
    pairs = list(zip(given, expected["scores"], strict=True))
    far = max(abs(one.scores[label] - other) for one, theirs in pairs for label, other in theirs.items())
    same = sum(one.label == max(theirs, key=theirs.__getitem__) for one, theirs in pairs)
    desk.promise(far < AS_CPU, "its probabilities are the processor's", f"largest difference {far:.1e}")
    desk.figure("answers alike", f"{same} of {len(pairs)}")
    requests = [texts[start : start + 1 + start % 9] for start in range(0, 800, 8)]
    alone = [model.predict(request) for request in requests]
    with ThreadPoolExecutor(8) as pool:
        desk.promise(list(pool.map(model.predict, requests)) == alone, "eight threads get the answers of one")
    test = desk.folder / "all" / "test.arrow"
    desk.promise(
        kind("text-classification").predict(folder, test).equals(kind("text-classification").predict(folder, test)),
        "the same outcomes every time",
    )
    _latency(desk, model, again, texts)
    asked = {int(row): answer for row, answer in expected["answers"].items()}
    began = time.monotonic()
    found = kind("text-classification").explain(folder, desk.folder / "all" / "explained.arrow", asked)
    desk.figure("explanations a second", f"{len(found) / (time.monotonic() - began):.1f}")
    weights = {str(one.row): [span.weight for span in one.spans] for one in found}
    far = max(abs(a - b) for row, ours in weights.items() for a, b in zip(ours, expected["spans"][row], strict=True))
    alike = weights.keys() == expected["spans"].keys() and far < SURELY_DEVICE
    desk.promise(alike, "its explanations are the processor's", f"{len(found)} rows, largest difference {far:.1e}")


def _latency(desk: Desk, model: Any, again: Any, texts: Sequence[str]) -> None:
    """A model beside itself, and beside one that waits for the device after each answer: neither may be slower."""
    from contender.evaluation.latency import Latency, summarise, time_models, timings_table

    examples = [{"text": text} for text in texts[:200]]

    def timed(*models: Any) -> Latency:
        return summarise(timings_table(time_models(models, [examples] * len(models))), "cuda")

    alike = timed(model, again)
    ours, ratio = alike.challenger_median, f"{alike.ratio:.3f} ({alike.ratio_low:.3f} to {alike.ratio_high:.3f})"
    desk.figure("ms an answer, median and 95th percentile", f"{ours.ms:.2f}, {alike.challenger_p95.ms:.2f}")
    desk.promise(0.9 < (alike.ratio or 0) < 1.1, "a model is as fast as itself", ratio)
    waiting = timed(Waiting(model), model)
    ratio = f"{waiting.ratio:.3f} ({waiting.ratio_low:.3f} to {waiting.ratio_high:.3f})"
    desk.promise(
        (waiting.ratio or 9) < 1.1, "an answer is there when it is timed: waiting for the device adds nothing", ratio
    )


class Waiting:
    """A model that answers only when the device has nothing left to do."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.warm_up = model.warm_up

    def predict(self, inputs: Sequence[Any], *, batch_size: int) -> Any:
        import torch

        found = self._model.predict(inputs, batch_size=batch_size)
        torch.cuda.synchronize()
        return found


# --- all of them --------------------------------------------------------------------------------------------------------


def _parts() -> dict[str, tuple[int, Callable[[Desk], None]]]:
    """Part → its turn and what it does; parts of one turn run at once, since nothing in them is timed."""

    def trained(*how: Any) -> Callable[[Desk], None]:
        return lambda desk: same_bytes(desk, *how)

    same = {
        f"bytes-{method}-{precision}{'-sure' * sure}": (1, trained(precision, sure, method))
        for precision, sure, method in SAME
    }
    alone = {"training": (0, training), "processor": (1, processor), "answers": (2, answers), "speed": (3, speed)}
    return alone | same | {"memory": (1, memory), "devices": (1, devices)}


def run_part(part: str, desk: Desk, log: Path) -> tuple[str, float, int | None]:
    """The part in a process of its own; its seconds and exit code, None where its time was up."""
    command = [sys.executable, "-m", MODULE, "--part", part, "--folder", str(desk.folder)]
    command += ["--base", desk.base, "--epochs", str(desk.epochs)]
    given = os.environ | {"CONTENDER_CACHE": str(desk.folder / "cache")}
    if part == "processor":
        given["CUDA_VISIBLE_DEVICES"] = ""
    began, code = time.monotonic(), None
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=given)
        try:
            code = process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()  # a training of its ends with it
            process.wait()
    return part, time.monotonic() - began, code


def run_parts(desk: Desk, chosen: Sequence[str], out: Path) -> bool:
    """Whether every promise of every part was kept; what they told is printed, and kept in `out`."""
    parts, whole = _parts(), True
    names = [name for name in parts if not chosen or any(name.startswith(one) for one in chosen)]
    for turn in sorted({parts[name][0] for name in names}):
        together = [name for name in names if parts[name][0] == turn]
        with ThreadPoolExecutor(min(len(together), os.cpu_count() or 1)) as pool:
            for part, seconds, code in pool.map(lambda name: run_part(name, desk, out / f"{name}.log"), together):
                whole &= _told(desk, part, seconds, code, out)
    return whole


def _told(desk: Desk, part: str, seconds: float, code: int | None, out: Path) -> bool:
    kept = desk.folder / f"{part}.jsonl"
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    if code != 0:
        last = (out / f"{part}.log").read_text(errors="replace").strip().splitlines()[-3:]
        lines.append({"kind": "broken", "name": "failed" if code else "time was up", "value": "\n".join(last)})
    table = Table("", part, f"{seconds:.0f} s", show_edge=False)
    for line in lines:
        table.add_row("" if line["kind"] == "figure" else line["kind"], line["name"], line["value"])
    Console(width=160).print(table)
    with (out / "report.jsonl").open("a") as stream:
        for line in lines:
            print(json.dumps({"part": part, "seconds": round(seconds, 1)} | line), file=stream)
    return all(line["kind"] != "broken" for line in lines)


def prepare_rows(folder: Path, rows: int) -> None:
    for name, count in (("all", rows), ("some", min(rows, 4000) if rows else 4000), ("few", 600), ("long", 1100)):
        (folder / name).mkdir()
        prepare(folder / name, count)
    texts = read("train.csv", 4 * 1100)
    write(
        folder / "long" / "train.arrow",
        [(" ".join(text for text, _ in texts[at::1100]), texts[at][1]) for at in range(1100)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--base", default=BASE, help="as model.base of a spec")
    parser.add_argument("--rows", type=int, default=0, help="of the whole training; 0: all 10,003")
    parser.add_argument("--epochs", type=float, default=5, help="of the whole training")
    parser.add_argument("--only", default="", help="parts by the beginnings of their names, with commas")
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-report"), help="folder for what was told and the parts' logs"
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.part:
        _parts()[told.part][1](Desk(told.folder, told.base, told.epochs, told.part))
        return
    if not DATA.is_dir():
        raise SystemExit(f"there is no {DATA}; set CONTENDER_DATA to the folder of the data sets")
    if not visible_gpus():
        print(
            "the driver names no GPU here: what follows is the processor's, and its promises are broken",
            file=sys.stderr,
        )
    told.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="contender-gpu-") as name:
        desk = Desk(Path(name), told.base, told.epochs, "")
        prepare_rows(desk.folder, told.rows)
        whole = run_parts(desk, [one for one in told.only.split(",") if one], told.out)
    print("every promise was kept" if whole else "a promise was broken: see above")
    raise SystemExit(0 if whole else 1)


if __name__ == "__main__":
    main()
