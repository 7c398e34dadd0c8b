"""What a training job works on: rows as tensors, the model, and what is decided by looking at both."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from pydantic import ValidationError

from contender.errors import DataError
from contender.files import write_durably
from contender.kinds import kind as kind_of
from contender.kinds._lengths import NO_LIMIT
from contender.kinds.base import Kind
from contender.names import TASKS
from contender.records import Record, digest
from contender.registry.fetch import MANIFEST
from contender.training.dataset import derive, used_ids
from contender.training.devices import best_device
from contender.training.distilling import AT_ONCE, carrying, distilling, with_answers
from contender.training.embedding import use_rows
from contender.training.head import FEATURES_BATCH, Probe, collate_features, last_layer, standardising, with_features
from contender.training.lora import adapt
from contender.training.monitor import Monitor
from contender.training.options import ADAPTING, Attempt, Job, Precision
from contender.training.precision import choose_precision
from contender.training.rates import check_layers

PLAN = "plan.json"
# Layers that start from nothing need larger steps than weights that know something already. On Banking77, MiniLM, 5 epochs: 2e-4
# with 1e-3 above the encoder reached 93.2, 3e-4 for all 92.4; with the pooler at the encoder's rate, 5 points less after an epoch.
PLACES: Any = dict.fromkeys(("base", "train", "validation", "output", "prepared"), True) | {"teacher": {"folder"}}
# Options that no prepared row depends on.
OF_LEARNING = {
    *("epochs", "batch_size", "learning_rate", "head_learning_rate", "early_stopping", "weight_decay", "layer_decay"),
    *("label_smoothing", "class_weights", "max_grad_norm", "warmup"),
}
HEAD_FACTOR, HEAD_MOST = 5.0, 1e-2


class Plan(Record):
    """What a job decided by looking; kept in its folder, so that a resumed attempt decides the same."""

    job: str
    max_length: int
    learning_rate: float
    head_learning_rate: float
    precision: Precision
    precision_reason: str


@dataclass
class Prepared:
    """Everything between the row files and the training loop."""

    kind: Kind
    processor: Any
    model: Any  # whole, as it is released
    trained: Any  # what the optimizer sees: the model, or the layer on top
    collate: Callable[..., Any]
    train: datasets.Dataset
    validation: datasets.Dataset
    rows: int  # to train on, before they became tensors
    adapted: Any = None  # the model with its adapters, for method lora
    row_seconds: float = 0.0  # that the rows took, and not the base
    plan: Plan = field(init=False)


def job_digest(job: Job) -> str:
    """What a checkpoint must have in common with the job that resumes it: all but where files lie."""
    return digest(job.model_dump(mode="json", exclude=PLACES))


def preparation_digest(job: Job) -> str:
    """The same of what its rows are prepared by, where jobs differ only in how they learn from them."""
    return digest(job.model_dump(mode="json", exclude=PLACES | {"options": OF_LEARNING}))


def _prepared(job: Job, folder: Path) -> Path:
    return Path(job.prepared) if job.prepared else folder / "prepared"


def loss_of(job: Job, kind: Kind, train: datasets.Dataset) -> Callable[..., Any]:
    """What a step makes smaller: the kind's loss, and where there is a teacher what parts the model from it."""
    own = kind.loss(job, train)
    return distilling(job.teacher, own) if job.teacher else own


def prepare(job: Job, folder: Path, monitor: Monitor, attempt: Attempt) -> Prepared:
    kind = kind_of(job.task)
    rows, checked = datasets.Dataset.from_file(job.train), datasets.Dataset.from_file(job.validation)
    _check_data(job, len(rows))
    processor = _uncut(kind.processor_for(job, rows), Path(job.base))
    model = kind.model_for(job, processor).to(best_device())
    if getattr(model.config, "pad_token_id", 0) is None:
        model.config.pad_token_id = processor.pad_token_id
    check_layers(model, job)
    kind.set_up(job, processor, model)
    known = _known_plan(job, folder)
    length = known.max_length if known else kind.length(job.options.max_length, processor, model.config, rows)
    if length:
        processor.model_max_length = length
    began = time.monotonic()
    train, validation = _tensors(job, kind, processor, length, folder, (rows, checked), monitor)
    row_seconds = time.monotonic() - began
    if len(train) == 0:
        raise DataError(
            f"each of the {len(rows):,} training rows is longer than {length:,} tokens, and none is left to train on",
            "Raise train.max_length, or use a base that reads more.",
        )
    if job.teacher:
        path = folder / "prepared" / f"teacher-{job_digest(job)[:16]}.arrow"
        at_once = attempt.at_once(job, AT_ONCE)
        train = with_answers(job, job.teacher, kind, rows, train, path, model.device, at_once, _alive(monitor))
    parameters = model.num_parameters()
    trained, adapted = model, None
    collate: Callable[..., Any] = partial(kind.collate, processor)
    collate = carrying(collate) if job.teacher else collate
    if job.method in ADAPTING:
        adapted = adapt(model, job.task, kind.above_encoder(model), job.lora, job.base)
        # The Trainer trains nothing of 4 bits unless it sees adapters around it.
        trained = adapted if job.method == "qlora" else model
    elif job.method == "head":
        began = time.monotonic()
        trained, train, validation = _probe(job, model, collate, (train, validation), folder, monitor, attempt)
        row_seconds += time.monotonic() - began
        collate = collate_features
    elif kind.compact_embeddings:
        use_rows(model, np.union1d(used_ids(train, validation), processor.all_special_ids))
    prepared = Prepared(kind, processor, model, trained, collate, train, validation, len(rows), adapted, row_seconds)
    prepared.plan = known or _decide(job, prepared, parameters, length, monitor, attempt)
    write_durably(folder / PLAN, prepared.plan.to_bytes())
    return prepared


def _uncut(processor: Any, base: Path) -> Any:
    """A release's tokenizer cuts texts where its training did, and that is no limit of the model's."""
    if (base / MANIFEST).is_file() and hasattr(processor, "model_max_length"):
        processor.model_max_length = NO_LIMIT
    return processor


def _check_data(job: Job, rows: int) -> None:
    if rows == 0:
        raise DataError("there are no rows to train on", "Lower the held-out shares or bring more data.")
    if TASKS[job.task].labels != "none" and len(job.labels) < 2:
        seen = ", ".join(repr(label) for label in job.labels) or "none"
        raise DataError(f"the training rows have fewer than two labels: {seen}", "A classifier needs at least two.")


def _known_plan(job: Job, folder: Path) -> Plan | None:
    try:
        plan = Plan.from_bytes((folder / PLAN).read_bytes())
    except (OSError, ValidationError):
        return None
    return plan if plan.job == job_digest(job) else None


def restore_plan(folder: Path, checkpoint: Path) -> None:
    """What the job decided, where a checkpoint came here without the folder that it was written in."""
    if not (folder / PLAN).exists():
        shutil.copyfile(checkpoint / PLAN, folder / PLAN)


def _tensors(
    job: Job,
    kind: Kind,
    processor: Any,
    length: int,
    folder: Path,
    sets: tuple[datasets.Dataset, datasets.Dataset],
    monitor: Monitor,
) -> tuple[datasets.Dataset, datasets.Dataset]:
    label_ids = {label: index for index, label in enumerate(job.labels)}

    def change(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        monitor.phase("preparing")
        return kind.prepare(processor, chunk, label_ids, length)

    key = f"{preparation_digest(job)[:16]}-{length}"
    train, validation = (
        derive(rows, _prepared(job, folder) / f"{name}-{key}.arrow", change)
        for name, rows in zip(("train", "validation"), sets, strict=True)
    )
    return train, validation


def _probe(
    job: Job,
    model: Any,
    collate: Callable[..., Any],
    sets: tuple[datasets.Dataset, datasets.Dataset],
    folder: Path,
    monitor: Monitor,
    attempt: Attempt,
) -> tuple[Probe, datasets.Dataset, datasets.Dataset]:
    layer = last_layer(model, len(job.labels), job.base)
    alive = _alive(monitor)
    key = preparation_digest(job)[:16]
    at_once = attempt.at_once(job, FEATURES_BATCH)
    train, validation = (
        with_features(
            rows, _prepared(job, folder) / f"{name}-features-{key}.arrow", model, layer, collate, at_once, alive
        )
        for name, rows in zip(("train", "validation"), sets, strict=True)
    )
    return Probe(layer, *standardising(train)).to(model.device), train, validation


def _alive(monitor: Monitor) -> Callable[[], None]:
    """Says that the preparation goes on, and stops it where it was asked to."""

    def alive() -> None:
        monitor.stop.check()
        monitor.still("preparing")

    return alive


def _decide(job: Job, prepared: Prepared, parameters: int, length: int, monitor: Monitor, attempt: Attempt) -> Plan:
    monitor.phase("measuring")
    rate = job.options.learning_rate
    from_nothing = job.init == "scratch"
    rate = (
        prepared.kind.learning_rate("scratch" if from_nothing else job.method, parameters) if rate == "auto" else rate
    )
    head_rate = job.options.head_learning_rate
    factor = 1.0 if from_nothing else HEAD_FACTOR  # all layers start alike
    if job.method == "head":
        precision: tuple[Precision, str] = ("fp32", "one layer leaves nothing to gain")
    else:
        steps = math.ceil(len(prepared.train) / job.options.batch_size * job.options.epochs)
        device = prepared.model.device
        examples = attempt.at_once(job)
        about = {"base": job.base_digest, "examples": examples, "max_length": length, "labels": len(job.labels)}
        one_step = _one_step(job, prepared, examples)
        precision = choose_precision(job.options.precision, device, steps, one_step, about)
    return Plan(
        job=job_digest(job),
        max_length=length,
        learning_rate=rate,
        head_learning_rate=max(rate, min(factor * rate, HEAD_MOST)) if head_rate == "auto" else head_rate,
        precision=precision[0],
        precision_reason=precision[1],
    )


def _one_step(job: Job, prepared: Prepared, examples: int) -> Callable[[bool], None]:
    """A step on `examples` of the median length that leaves weights, statistics, gradients and random generators as they were."""
    lengths = np.asarray(prepared.train["length"][:])
    middle = np.argsort(lengths, kind="stable")[max(0, (len(lengths) - examples) // 2) :][:examples]
    model = prepared.trained
    batch = {k: v.to(model.device) for k, v in prepared.collate(list(prepared.train.select(middle))).items()}
    loss = loss_of(job, prepared.kind, prepared.train)

    def run(bf16: bool) -> None:
        inputs = dict(batch)
        labels = inputs.pop("labels")
        statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]  # of batch normalisation
        try:
            with torch.random.fork_rng(devices=[model.device.index] if model.device.type == "cuda" else []):
                with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                    outputs = model(**inputs)
                loss(outputs, labels).backward()
        finally:  # also where it does not fit into memory
            model.zero_grad()
            for buffer, before in statistics:
                buffer.copy_(before)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)  # it is timed

    model.train()
    return run
