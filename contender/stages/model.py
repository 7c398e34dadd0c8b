"""The stages that make a model and try it: fine-tune, release, read back, predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from contender.datafiles import data_files
from contender.evaluation.scope import check_scope
from contender.kinds import kind
from contender.overfitting import overfitting
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
from contender.stages.lineage import is_quantised, lineage
from contender.stages.places import places
from contender.stages.table import features_of, table_of
from contender.stages.telling import bytes_told, finish, rows_told, staged
from contender.stages.training import StageJob, trained_told
from contender.training.devices import alone, best_device, computing_on, wait_passively
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.compression import Compression
    from contender.models import ResolvedBase
    from contender.searching import SearchReport
    from contender.selecting import SelectionReport
    from contender.spec import Pipeline
    from contender.training.launcher import Job


class Predictions(Record):
    """The outcomes of one release on one held-out set, in `outcomes.parquet`."""

    rows: int
    device: str
    dtype: str


def training_versions(method: str) -> dict[str, str]:
    """Of the packages whose change gives another model."""
    adapts = {"lora": ("peft",), "qlora": ("peft", "bitsandbytes")}.get(method, ())
    return {name: version(name) for name in ("torch", "transformers", *adapts)}


@dataclass(frozen=True)
class Training:
    """One training of a pipeline: its key in the workspace, and what computes it; `forget` once its model is kept."""

    key: str
    compute: Callable[[Path], TrainReport]
    forget: Callable[[], None]


def training(
    run: Run,
    base: ResolvedBase,
    split: Staged[SplitReport],
    stage: str = "train",
    prepared: Path | None = None,
    **about: Any,
) -> Training:
    """The training of `run`'s spec on a split's rows, told of as a part of `stage`.

    `prepared`: where it shares prepared rows with others on the same split; `about`: see StageJob.
    """
    spec = run.pipeline.spec
    key = stage_key(
        run.pipeline,
        "train",
        rows={name: split.record.digests[name] for name in ("train", "validation")},
        labels=split.record.labels,
        base=base.digest,
        kind=kind(spec.task).revision,
        versions=training_versions(spec.model.method),
    )
    reads = (*stage_of_base(run, base), (split.stage, split.key))
    job = StageJob(run, stage, key, reads, **{"may_end": True, **about})

    def compute(folder: Path) -> TrainReport:
        told = job_of(run, base, split, folder / "model")
        shared = told.model_copy(update={"prepared": str(prepared) if prepared else None})
        with _warming_up(spec.task, Path(base.path)):
            return job.train(shared)

    return Training(key, compute, job.forget)


def fine_tune(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> Staged[TrainReport]:
    """The candidate: a child process trains it, and continues where an interrupted run left its checkpoint."""
    check_scope(run.pipeline.spec.evaluate.out_of_scope, split.record.label_counts["train"])
    one = training(run, base, split)
    place = places(run, one.key)
    trained = staged(run, "train", place.found("train", TrainReport), TrainReport, one.compute, trained_told, place.of)
    run.spent.add(one.key, trained.record.seconds, trained.record.energy_kwh)
    if trained.record.budget_spent:
        tell(Note("train", "warned", trained.record.notes[-1]))
    else:
        one.forget()
    if (curve := overfitting(trained.record)) is not None and curve.overfits:
        tell(Note("train", "warned", curve.text))
    return trained


def job_of(run: Run, base: ResolvedBase, split: Staged[SplitReport], output: Path) -> Job:
    """The training that the spec describes, of the base on a split's rows."""
    from contender.training.launcher import Job

    model = {name: getattr(run.pipeline.spec.model, name) for name in ("method", "init", "config", "lora")}
    return Job(**told_of_job(run, base, split, output), **model)


def told_of_job(run: Run, base: ResolvedBase, split: Staged[SplitReport], output: Path) -> dict[str, Any]:
    """What every training of this pipeline is told, whatever its method."""
    spec = run.pipeline.spec
    return {
        "task": spec.task,
        "base": base.path,
        "base_digest": base.digest,
        "columns": {role: role for role in columns(run.pipeline)},
        "labels": split.record.labels,
        **table_of(run.pipeline, split),
        "out_of_scope": chosen_by_scope(run.pipeline),
        "options": spec.train,
        "generation": spec.model.generation,
        "primary_metric": spec.evaluate.metrics[0],
        "train": str(split.folder / "train.arrow"),
        "validation": str(split.folder / "validation.arrow"),
        "output": str(output),
    }


@contextmanager
def _warming_up(task: str, base: Path) -> Iterator[None]:
    """The evaluation imports torch and the model here, the report its templates; the child leaves time for that."""
    thread = Thread(target=_warm_up, args=(task, base), name="warm-up", daemon=True)
    thread.start()
    yield
    thread.join()


def _warm_up(task: str, base: Path) -> None:
    """For a thread: whatever is wrong here, the evaluation meets it again and says so."""
    with suppress(Exception), alone:
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
    compressed: Staged[Compression] | None = None,
    student: ResolvedBase | None = None,
    search: SearchReport | None = None,
    selection: SelectionReport | None = None,
) -> ReleaseManifest:
    """The challenger: the candidate's files in the registry, verified, its manifest last; not yet live.

    Of a model that was `compressed` these are the smaller one's; `student`: the base that it was distilled into. `search`: what its
    options were chosen by; `selection`: its base.
    """
    from contender.data.trainkeys import train_keys_file

    made = (compressed or model).folder
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
            compressed.record if compressed else None,
            search,
            selection,
        ),
    )
    with run.workspace.scratch(f"release-{model.key}") as folder:
        inherited = (*inherited_keys(base), *(inherited_keys(student) if student else ()))
        of = frozen_split(run), inherited, run.pipeline.spec.facts
        train_keys_file(split.folder, folder / TRAIN_KEYS, *of)
        (folder / DATA_FILES).write_bytes(data_files(snapshot.record))
        manifest = run.registry.stage(
            made / "model",
            draft,
            {name: folder / name for name in (TRAIN_KEYS, DATA_FILES)} | adapter_files(made, base, folder),
            on_bytes=bytes_told("release", made / "model"),
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


def serving(quantised: bool = False) -> tuple[str, str]:
    """Kind of device and number format that outcomes are computed with; both may change the last digits of a probability.

    `quantised`: by a model of int8, which computes on the CPU wherever it is.
    """
    wait_passively()
    return ("cpu", "int8") if quantised else (str(best_device().type), "fp32")


def predict(run: Run, release: ReleaseManifest, split: Staged[SplitReport], name: str) -> Staged[Predictions]:
    """The release's outcomes on one held-out set, computed from the staged bytes by the release's own manifest."""
    model = Predictor(
        release.digest, release.release, release.kind, lambda: fetch_release(run, release), is_quantised(release)
    )
    return predict_by(run, model, split, name)


def predict_trained(
    run: Run, model: Staged[TrainReport], split: Staged[SplitReport], name: str, stage: str = "evaluate"
) -> tuple[str, Staged[Predictions]]:
    """A trained model's outcomes, without a release of it; before them the digest that one would have.

    What was predicted by a release of the same bytes is found, and the other way round.
    """
    folder = model.folder / "model"
    digest = files_digest(model_files(folder))
    shown = f"the model of seed {run.pipeline.spec.train.seed}"
    return digest, predict_by(run, Predictor(digest, shown, run.pipeline.spec.task, lambda: folder), split, name, stage)


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
    """Outcomes on a row file, or on some of its rows, with the figures that evaluate.answer and evaluate.judge give."""
    from contender.evaluation.answers import with_exact, with_wins
    from contender.evaluation.evaluate import read_columns

    evaluate = pipeline.spec.evaluate
    if evaluate.answer is not None:
        outcomes = with_exact(outcomes, evaluate.answer)
    if evaluate.judge is not None:
        cells = read_columns(rows, [pipeline.spec.facts.target]).column(0).take(outcomes.column("row"))
        outcomes = with_wins(outcomes, cells.to_pylist(), evaluate.judge, pipeline.judge or "")
    return outcomes


@dataclass(frozen=True)
class Predictor:
    """A model that can predict: the digest of its files, its name for people, its kind, what gives its folder, and whether it is
    quantised."""

    digest: str
    name: str
    kind: str
    folder: Callable[[], Path]
    quantised: bool = False


def predict_by(
    run: Run, model: Predictor, split: Staged[SplitReport], name: str, stage: str = "evaluate"
) -> Staged[Predictions]:
    """A model's outcomes on a set, told of as a part of `stage`."""
    device, dtype = serving(model.quantised)
    key = stage_key(
        run.pipeline, "predict", release=model.digest, set=split.record.digests[name], device=device, dtype=dtype
    )

    def compute(folder: Path) -> Predictions:
        import pyarrow.parquet as pq

        rows = split.folder / f"{name}.arrow"
        told = rows_told(stage, f"{model.name} on {name}", split.record.rows[name])
        folder_of_model = model.folder()
        with run.hold_device() as environment, computing_on(environment):
            outcomes = kind(model.kind).predict(folder_of_model, rows, on_rows=told)
        pq.write_table(outcomes, folder / "outcomes.parquet", compression="zstd")
        return Predictions(rows=outcomes.num_rows, device=device, dtype=dtype)

    return rated(run, run.workspace.stage("predict", key, Predictions, compute), split.folder / f"{name}.arrow")
