"""The stage that makes a trained model smaller and faster, and measures it beside the model that it was made from.

What it leaves is what is staged, judged and promoted; the model that it was made from stays in the workspace.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.compression import Compression, Distilled
from contender.errors import ModelError
from contender.evaluation.latency import EXAMPLES, SECONDS
from contender.evaluation.scope import with_scope
from contender.kinds import kind
from contender.plan import columns, parts, stage_key
from contender.progress import Finding, Note, tell
from contender.records import ReleaseManifest, SplitReport, TrainReport
from contender.registry.layout import files_digest
from contender.registry.releases import model_files
from contender.run import Run
from contender.shareable import shareable
from contender.stages.base import stage_of_base
from contender.stages.model import Predictor, predict_by, serving, told_of_job, training_versions
from contender.stages.table import features_of
from contender.stages.telling import staged
from contender.stages.timing import time_apart
from contender.stages.training import StageJob
from contender.training.options import Teacher
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.kinds.base import Kind
    from contender.models import ResolvedBase

VALIDATION = "validation"
BEFORE, AFTER = "before.parquet", "after.parquet"  # outcomes of both models on validation


def compress(
    run: Run, student: ResolvedBase | None, model: Staged[TrainReport], split: Staged[SplitReport]
) -> Staged[Compression]:
    """The trained model made smaller, as the spec asks: distilled into `student`, quantised, or both in this order.

    A distillation is a training like any other: in a process of its own, continued where an interrupted run left its checkpoint.
    """
    spec = run.pipeline.spec
    original = model.folder / "model"
    digest = files_digest(model_files(original))
    device, _ = serving(quantised=spec.compress.quantize is not None)
    inputs: dict[str, Any] = {
        "model": digest,
        "rows": {name: split.record.digests[name] for name in ("train", VALIDATION)},
        "primary": spec.evaluate.metrics[0],
        "device": device,
        "versions": training_versions("full"),
    }
    if student is not None:
        inputs |= {"student": student.digest, "train": parts(run.pipeline)["train"], "kind": kind(spec.task).revision}
    key = stage_key(run.pipeline, "compress", **inputs)
    job = StageJob(run, "compress", key, stage_of_base(run, student)) if student is not None else None

    def compute(folder: Path) -> Compression:
        made, training = original, None
        if student is not None and job is not None:
            teacher = Teacher(folder=str(original), digest=digest, **_softness(run))
            training = job.train(_learning(run, student, split, teacher, folder / "model"))
            made = folder / "model"
        if spec.compress.quantize is not None:
            write_quantised(kind(spec.task), made, split.record.labels, folder / "model")
        return _measured(run, model, split, folder, training, student, digest, device)

    made = staged(run, "compress", key, Compression, compute, lambda found: found.sentence, finding=_finding)
    if job is not None:
        job.forget()
    if made.record.faster != "yes":
        said = "is not faster" if made.record.faster == "no" else "is not shown to be faster"
        text = f"the compressed model {said} than the model that it was made from, and will not be promoted"
        tell(Note("compress", "warned", text))
    return made


def outcomes_beside(compressed: Staged[Compression]) -> tuple[Any, Any]:
    """Outcomes on validation of the compressed model, and of the one that it was made from; None where there are no rows."""
    import pyarrow.parquet as pq

    paths = [compressed.folder / name for name in (AFTER, BEFORE)]
    after, before = (pq.read_table(path) if path.exists() else None for path in paths)
    return after, before


def _finding(found: Compression) -> Finding:
    return "good" if found.faster == "yes" else "open"


def _softness(run: Run) -> dict[str, float]:
    distill = run.pipeline.spec.compress.distill
    assert distill is not None
    return {"temperature": distill.temperature, "alpha": distill.alpha}


def _learning(run: Run, student: ResolvedBase, split: Staged[SplitReport], teacher: Teacher, output: Path) -> Any:
    """The job of the smaller model; an architecture of our own has no weights to begin from."""
    from contender.names import BUILTIN
    from contender.training.launcher import Job

    init = "scratch" if student.name.startswith(BUILTIN) else "pretrained"
    return Job(**told_of_job(run, student, split, output), method="full", init=init, teacher=teacher)


def write_quantised(of: Kind, source: Path, labels: Sequence[str], output: Path) -> None:
    """Writes the model of one folder to another, or over itself, with int8 weights below its head.

    ModelError where it has no layer that could have them.
    """
    from contender.kinds._int8 import quantise
    from contender.training.saving import save_model_files

    model, processor = of.load_model(source, labels), of.load_processor(source)
    if not quantise(model, of.above_encoder(model)):
        raise ModelError(
            "compress.quantize: nothing of the trained model can be quantised, which has no linear layer below its head",
            "Take compress.quantize out of the spec.",
        )
    save_model_files(model, processor, 0, output)


def _measured(
    run: Run,
    model: Staged[TrainReport],
    split: Staged[SplitReport],
    folder: Path,
    training: TrainReport | None,
    student: ResolvedBase | None,
    digest: str,
    device: str,
) -> Compression:
    """Size, quality on validation and latency of both models."""
    from contender.evaluation.latency import summarise, timings_table

    spec, original, made = run.pipeline.spec, model.folder / "model", folder / "model"
    metric, rows = spec.evaluate.metrics[0], split.record.rows.get(VALIDATION, 0)
    files, before_files = model_files(made), model_files(original)
    found: dict[str, Any] = {}
    if rows:
        after = Predictor(
            files_digest(files), "the compressed model", spec.task, lambda: made, bool(spec.compress.quantize)
        )
        before = Predictor(digest, "the trained model", spec.task, lambda: original)
        found["before"] = _score(run, before, split, folder / BEFORE)
        found["after"] = _score(run, after, split, folder / AFTER)
    timed = [unreleased(run, split, name) for name in ("compressed", "trained")]
    examples = split.folder / f"{VALIDATION if rows else 'train'}.arrow"
    with run.hold_device() as environment:
        times = time_apart(timed, [made, original], examples, (EXAMPLES, SECONDS), device, os.environ | environment)
    latency = summarise(timings_table(times), device)
    assert latency.champion_median is not None and latency.ratio is not None
    return Compression(
        quantize=spec.compress.quantize,
        distill=Distilled(
            to=shareable(student.name), base_digest=student.digest, base_revision=student.revision, **_softness(run)
        )
        if student
        else None,
        original=digest,
        bytes_before=sum(file.size for file in before_files),
        bytes_after=sum(file.size for file in files),
        metric=metric,
        rows=rows,
        examples=latency.examples,
        median_before=latency.champion_median.ms,
        median_after=latency.challenger_median.ms,
        ratio=latency.ratio,
        ratio_low=latency.ratio_low,
        ratio_high=latency.ratio_high,
        device=device,
        training=training,
        **found,
    )


def _score(run: Run, model: Predictor, split: Staged[SplitReport], kept: Path) -> float:
    """The primary metric on validation; the outcomes are `kept` too."""
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import compute

    evaluate = run.pipeline.spec.evaluate
    found = predict_by(run, model, split, VALIDATION, "compress").folder / "outcomes.parquet"
    outcomes = with_scope(pq.read_table(found), evaluate.out_of_scope)
    pq.write_table(outcomes, kept, compression="zstd")
    return float(compute(outcomes, evaluate.metrics[:1])[evaluate.metrics[0]])


def unreleased(run: Run, split: Staged[SplitReport], name: str) -> ReleaseManifest:
    """A manifest for a model that is no release: what `load` reads of one."""
    return ReleaseManifest(
        kind=run.pipeline.spec.task,
        columns=columns(run.pipeline) | {name: name for name in features_of(run.pipeline, split)},
        label_names=split.record.labels,
        release=f"the {name} model",
        digest="",
        files=(),
        created="",
    )
