"""The stages that make a model and try it: fine-tune, release, read back, predict."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from contender import stopping
from contender.datafiles import data_files
from contender.evaluation.scope import check_scope
from contender.kinds import kind
from contender.plan import chosen_by_scope, columns, rating, stage_key
from contender.progress import Note, tell
from contender.records import (
    AliasEntry,
    QualityReport,
    Record,
    ReleaseDraft,
    ReleaseManifest,
    Snapshot,
    SplitReport,
    TrainReport,
)
from contender.registry import DATA_FILES, TRAIN_KEYS
from contender.registry.layout import files_digest
from contender.registry.releases import model_files
from contender.run import Run, signing_key
from contender.stages.adapter import adapter_files
from contender.stages.base import inherited_keys, stage_of_base
from contender.stages.data import frozen_split
from contender.stages.lineage import lineage
from contender.stages.table import features_of, table_of
from contender.stages.telling import bytes_told, finish, rows_told, staged
from contender.training.devices import best_device, computing_on, wait_passively
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.models import ResolvedBase
    from contender.spec import Pipeline
    from contender.training.launcher import Progress


STOPPING = "asked to stop: a checkpoint is written first; a second Ctrl-C does not wait for it"
TOUCH_SECONDS = 600  # between marks on what a long training reads from, so that nobody cleans it away


class Predictions(Record):
    """The outcomes of one release on one held-out set, in `outcomes.parquet`."""

    rows: int
    device: str
    dtype: str


def training_versions(method: str) -> dict[str, str]:
    """Of the packages whose change gives another model."""
    adapts = {"lora": ("peft",), "qlora": ("peft", "bitsandbytes")}.get(method, ())
    return {name: version(name) for name in ("torch", "transformers", *adapts)}


def fine_tune(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> Staged[TrainReport]:
    """The candidate: a child process trains it, and continues where an interrupted run left its checkpoint."""
    from contender.training.launcher import Attempts, Job, run_job
    from contender.training.sharing import SharedCheckpoints

    spec = run.pipeline.spec
    check_scope(spec.evaluate.out_of_scope, split.record.label_counts["train"])
    key = stage_key(
        run.pipeline,
        "train",
        rows={name: split.record.digests[name] for name in ("train", "validation")},
        labels=split.record.labels,
        base=base.digest,
        kind=kind(spec.task).revision,
        versions=training_versions(spec.model.method),
    )

    attempts = Attempts(run.workspace.records, key)
    job_folder = run.workspace.job_folder(key)
    shared = SharedCheckpoints(run.workspace.shared, key, job_folder, attempts) if run.workspace.shared else None

    touched = [time.monotonic()]
    heard = False

    def told(progress: Progress) -> None:
        nonlocal heard
        if stopping.asked() and not heard:
            heard = True
            tell(Note("train", "warned", STOPPING))
        if time.monotonic() - touched[0] > TOUCH_SECONDS:
            touched[0] = time.monotonic()
            run.workspace.touch([*((stage.name, stage.key) for stage in run.stages), *stage_of_base(run, base)])
        _training_told(progress, spec.evaluate.metrics[0])

    def compute(folder: Path) -> TrainReport:
        job = Job(
            task=spec.task,
            base=base.path,
            base_digest=base.digest,
            method=spec.model.method,
            init=spec.model.init,
            config=spec.model.config,
            lora=spec.model.lora,
            columns={role: role for role in columns(run.pipeline)},
            labels=split.record.labels,
            **table_of(run.pipeline, split),
            out_of_scope=chosen_by_scope(run.pipeline),
            options=spec.train,
            generation=spec.model.generation,
            primary_metric=spec.evaluate.metrics[0],
            train=str(split.folder / "train.arrow"),
            validation=str(split.folder / "validation.arrow"),
            output=str(folder / "model"),
        )
        # The evaluation imports torch and the model here, the report its templates; the child leaves time for that.
        Thread(target=_warm_up, args=(spec.task, Path(base.path)), daemon=True).start()
        if shared:
            shared.restore()
        with run.hold_device() as environment, shared.sending() if shared else nullcontext():
            return run_job(
                job,
                job_folder,
                attempts,
                checkpoint=spec.resources.checkpoint,
                max_recoveries=spec.resources.max_recoveries,
                environment=environment,
                on_progress=told,
                on_checkpoint=shared.send if shared else None,
                on_recovery=lambda text: tell(Note("train", "warned", text)),
                on_line=lambda line: tell(Note("train", "said", line)),
            )

    trained = staged(run, "train", key, TrainReport, compute, trained_told)
    shutil.rmtree(job_folder, ignore_errors=True)
    if shared:
        shared.forget()
    attempts.forget()
    return trained


def _warm_up(task: str, base: Path) -> None:
    """For a thread: whatever is wrong here, the evaluation meets it again and says so."""
    with suppress(Exception):
        kind(task).warm_up(base)
        from contender.reporting.page import warm_up

        warm_up()  # the judge comes with it


def stage_release(
    run: Run,
    base: ResolvedBase,
    model: Staged[TrainReport],
    split: Staged[SplitReport],
    snapshot: Staged[Snapshot],
    quality: Staged[QualityReport],
    parent: AliasEntry | None,
) -> ReleaseManifest:
    """The challenger: the candidate's files in the registry, verified, its manifest last; not yet live."""
    from contender.data.trainkeys import train_keys_file

    started = time.monotonic()
    tell(Note("release", "started"))
    draft = ReleaseDraft(
        kind=run.pipeline.spec.task,
        columns=columns(run.pipeline) | {name: name for name in features_of(run.pipeline, split)},
        label_names=split.record.labels,
        lineage=lineage(
            run.pipeline,
            snapshot.record,
            quality.record,
            split.record,
            model.record,
            base,
            parent.release if parent else None,
        ),
    )
    with run.workspace.scratch(f"release-{model.key}") as folder:
        of = frozen_split(run), inherited_keys(base), run.pipeline.spec.facts
        train_keys_file(split.folder, folder / TRAIN_KEYS, *of)
        (folder / DATA_FILES).write_bytes(data_files(snapshot.record))
        manifest = run.registry.stage(
            model.folder / "model",
            draft,
            {name: folder / name for name in (TRAIN_KEYS, DATA_FILES)} | adapter_files(model.folder, base, folder),
            on_bytes=bytes_told("release", model.folder / "model"),
        )
    key = signing_key(run.pipeline)
    if key is not None:
        run.registry.sign(manifest.release, key)
    finish(
        run, "release", manifest.release, f"{manifest.release} staged and verified", False, time.monotonic() - started
    )
    return manifest


def fetch_release(run: Run, release: ReleaseManifest) -> Path:
    """The release's model, read back from the registry file by file against its sha256: what is judged is what is promoted."""
    key = stage_key(run.pipeline, "fetch", release=release.digest)
    fetched = run.workspace.stage(
        "fetch",
        key,
        ReleaseManifest,
        lambda folder: run.registry.fetch(release.release, folder / "model"),
        share=False,  # the registry is as near
    )
    return fetched.folder / "model"


def serving() -> tuple[str, str]:
    """Kind of device and number format that outcomes are computed with; both may change the last digits of a probability."""
    wait_passively()
    return str(best_device().type), "fp32"


def predict(run: Run, release: ReleaseManifest, split: Staged[SplitReport], name: str) -> Staged[Predictions]:
    """The release's outcomes on one held-out set, computed from the staged bytes by the release's own manifest."""
    model = Predictor(release.digest, release.release, release.kind, lambda: fetch_release(run, release))
    return _predict(run, model, split, name)


def predict_trained(
    run: Run, model: Staged[TrainReport], split: Staged[SplitReport], name: str
) -> tuple[str, Staged[Predictions]]:
    """A trained model's outcomes, without a release of it; before them the digest that one would have.

    What was predicted by a release of the same bytes is found, and the other way round.
    """
    folder = model.folder / "model"
    digest = files_digest(model_files(folder))
    shown = f"the model of seed {run.pipeline.spec.train.seed}"
    return digest, _predict(run, Predictor(digest, shown, run.pipeline.spec.task, lambda: folder), split, name)


def rated(run: Run, predicted: Staged[Predictions], rows: Path) -> Staged[Predictions]:
    """The outcomes with what the spec has said of each answer; themselves where it asks for nothing."""
    if not rating(run.pipeline):
        return predicted

    def compute(folder: Path) -> Predictions:
        import pyarrow.parquet as pq

        outcomes = with_ratings(run.pipeline, pq.read_table(predicted.folder / "outcomes.parquet"), rows)
        pq.write_table(outcomes, folder / "outcomes.parquet", compression="zstd")
        return predicted.record

    return run.workspace.stage("rate", stage_key(run.pipeline, "rate", predicted=predicted.key), Predictions, compute)


def with_ratings(pipeline: Pipeline, outcomes: pa.Table, rows: Path) -> pa.Table:
    """Outcomes on a row file with the figures that evaluate.answer and evaluate.judge give."""
    from contender.evaluation.answers import with_exact, with_wins
    from contender.evaluation.evaluate import read_columns

    evaluate = pipeline.spec.evaluate
    if evaluate.answer is not None:
        outcomes = with_exact(outcomes, evaluate.answer)
    if evaluate.judge is not None:
        cells = read_columns(rows, [pipeline.spec.facts.target]).column(0).to_pylist()
        outcomes = with_wins(outcomes, cells, evaluate.judge, pipeline.judge or "")
    return outcomes


@dataclass(frozen=True)
class Predictor:
    """A model that can predict: the digest of its files, its name for people, its kind, and what gives its folder."""

    digest: str
    name: str
    kind: str
    folder: Callable[[], Path]


def _predict(run: Run, model: Predictor, split: Staged[SplitReport], name: str) -> Staged[Predictions]:
    device, dtype = serving()
    key = stage_key(
        run.pipeline, "predict", release=model.digest, set=split.record.digests[name], device=device, dtype=dtype
    )

    def compute(folder: Path) -> Predictions:
        import pyarrow.parquet as pq

        rows = split.folder / f"{name}.arrow"
        told = rows_told("evaluate", f"{model.name} on {name}", split.record.rows[name])
        folder_of_model = model.folder()
        with run.hold_device() as environment, computing_on(environment):
            outcomes = kind(model.kind).predict(folder_of_model, rows, on_rows=told)
        pq.write_table(outcomes, folder / "outcomes.parquet", compression="zstd")
        return Predictions(rows=outcomes.num_rows, device=device, dtype=dtype)

    return rated(run, run.workspace.stage("predict", key, Predictions, compute), split.folder / f"{name}.arrow")


def trained_told(report: TrainReport) -> str:
    """A training in one line."""
    best = f", best {report.best_metric:.4f} on validation" if report.best_metric is not None else ""
    continued = f", continued from step {report.resumed_from_step:,}" if report.resumed_from_step else ""
    return f"{report.steps:,} steps{continued}{best}, {report.examples_per_second:,.0f} examples/s, {report.device} {report.precision}"


def _left(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 6000 else f"{seconds / 3600:.1f} h left"


def _training_told(progress: Progress, primary: str) -> None:
    from contender.judging.words import value

    figures = (
        progress.phase if progress.phase != "training" else None,
        f"{progress.step:,} of {progress.steps:,} steps" if progress.steps else None,
        f"loss {progress.loss:.3f}" if progress.loss is not None else None,
        *(f"{name} {value(name, found)}" for name, found in progress.metrics.items() if name == primary),
        _left(progress.seconds_left) if progress.seconds_left is not None else None,
        f"{progress.examples_per_second:,.0f} examples/s" if progress.examples_per_second else None,
    )
    text = " · ".join(figure for figure in figures if figure)
    tell(
        Note(
            "train",
            "moved",
            text,
            part=progress.phase,
            done=progress.step,
            total=progress.steps,
            figures=progress.metrics,
            kept=progress.checkpoint,
        )
    )
