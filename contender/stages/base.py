"""The stage that finds the model that a training starts from: on this machine, checked, and known by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import ModelError, UsageError
from contender.names import RELEASE_BASE, TASKS
from contender.plan import columns, stage_key
from contender.progress import Note, tell
from contender.records import Record, ReleaseManifest
from contender.registry import TRAIN_KEYS
from contender.run import Run

if TYPE_CHECKING:
    from contender.data.trainkeys import Inherited
    from contender.models import ResolvedBase
    from contender.registry import Registry


class BaseRelease(Record):
    """A release that a training starts from: `model/` beside this record, and, where it says what it trained on, its keys."""

    pipeline: str
    release: str
    digest: str


def with_base(run: Run, base: str) -> Run:
    """The run as if its spec named this base alone."""
    return run.with_spec(run.pipeline.spec.with_base(base))


def find_bases(run: Run) -> tuple[ResolvedBase, ...]:
    """Every base of the spec that can be trained, as `find_base` finds it: one that is not there ends a run before anything trains."""
    return tuple(find_base(with_base(run, base)) for base in run.pipeline.spec.model.local)


def base_of(run: Run, bases: Sequence[ResolvedBase]) -> ResolvedBase:
    """The one of these that the run's spec names."""
    (name,) = run.pipeline.spec.model.bases
    return next(base for base in bases if base.name == name)


def find_base(run: Run) -> ResolvedBase:
    """The base model, on this machine and checked: before a row is read, since nothing comes of a run without it.

    UsageError where the spec leaves open which of several it is.
    """
    model = run.pipeline.spec.model
    if len(model.bases) > 1:
        raise UsageError(
            f"model.base names {len(model.bases)} bases, and this takes one",
            f"Choose it, such as --set model.base={model.local[0]}; contender run compares them all.",
        )
    if model.method == "qlora":
        from contender.training.qlora import check_qlora

        check_qlora()
    base = _found(run, model.bases[0], "model.base", weights=model.init == "pretrained")
    if model.config:
        from contender.training.scratch import changed_config

        changed_config(Path(base.path), model.config)
    if (dropout := run.pipeline.spec.train.dropout) != "auto":
        from contender.training.dropout import dropouts_of

        dropouts_of(Path(base.path), dropout)
    return base


def find_student(run: Run, base: ResolvedBase) -> ResolvedBase | None:
    """What the model of `base` is to be distilled into, checked as early: before hours of training. None where nothing is.

    ModelError for a base that cannot be one of the pipeline's task.
    """
    from contender.kinds import kind
    from contender.training.dropout import dropouts_of

    distill = run.pipeline.spec.compress.distill
    if distill is None:
        return None
    student = _found(run, distill.to, "compress.distill.to", weights=True)
    try:
        kind(run.pipeline.spec.task).check_base(Path(student.path))
        dropouts_of(Path(student.path), run.pipeline.spec.train.dropout)
    except ModelError as error:
        raise ModelError(f"compress.distill.to: {error.what}", error.fix) from error
    sizes = [sum(path.stat().st_size for path in Path(one.path).glob("*.safetensors")) for one in (student, base)]
    if sizes[0] >= sizes[1] > 0:
        told = f"{distill.to} has {sizes[0] / 1e6:,.0f} MB of weights, and the base that it learns from {sizes[1] / 1e6:,.0f}"
        tell(Note("compress", "warned", f"{told}: it will hardly be faster"))
    return student


def _found(run: Run, base: str, key: str, weights: bool) -> ResolvedBase:
    """The base that `key` of the spec names."""
    from contender.models import resolve_base

    if base.startswith(RELEASE_BASE):
        return _release_base(run, base, key)
    return resolve_base(base, Path(run.pipeline.folder), weights=weights)


def _release_base(run: Run, base: str, key: str) -> ResolvedBase:
    """The release that an alias names now; what it is called by later runs is decided by its digest."""
    from contender.lookup import find_for
    from contender.models import ResolvedBase, check_model_folder

    try:
        target = find_for(run.pipeline, base.removeprefix(RELEASE_BASE))
        manifest, _ = target.release()
    except UsageError as error:
        raise UsageError(f"{key}: {error.what}", error.fix) from error

    def compute(folder: Path) -> BaseRelease:
        target.registry.fetch(manifest.release, folder / "model")
        _keep_keys(target.registry, manifest, folder / TRAIN_KEYS)
        return BaseRelease(pipeline=target.registry.pipeline, release=manifest.release, digest=manifest.digest)

    of = stage_key(run.pipeline, "base", release=manifest.digest, registry=target.registry.url)
    found = run.workspace.stage("base", of, BaseRelease, compute, share=False)  # the registry is as near
    folder = found.folder / "model"
    check_model_folder(folder, base)
    resolved = ResolvedBase(name=base, path=str(folder), digest=manifest.digest, revision=manifest.release)
    for said in _untold(run, resolved):
        tell(Note("train", "warned", f"{base}: {said}; rows here that it trained on are not told from others"))
    return resolved


def _untold(run: Run, base: ResolvedBase) -> Iterator[str]:
    """Why some of what the base trained on cannot be found again among the rows of this pipeline."""
    from contender.data.trainkeys import comparable

    inherited = inherited_keys(base)
    if not inherited:
        yield "it does not say what it trained on"
    held = [*columns(run.pipeline), *run.pipeline.spec.evaluate.slices]
    for key in sorted({one.definition.key for one in inherited if not comparable(one.definition, held)}):
        yield f"it was split by {key}, which is no column of the held-out rows here (evaluate.slices would keep it)"


def _keep_keys(registry: Registry, manifest: ReleaseManifest, out: Path) -> None:
    """What the release and its ancestors trained on, with the salts that tell their pipelines apart."""
    from contender.data.trainkeys import Inherited, TrainKeys, joined, write_keys
    from contender.stages.judge import stored_keys

    definition, keys = registry.split(), stored_keys(registry, manifest)
    if definition is not None and keys is not None:
        example = TASKS[manifest.kind].example if manifest.kind in TASKS else None
        if example is not None and manifest.columns.get(example) == definition.key:
            definition = definition.model_copy(update={"key": example})  # the same under a name that others know
        write_keys(out, TrainKeys(joined([]), (Inherited(definition, keys.own), *keys.inherited)))


def stage_of_base(run: Run, base: ResolvedBase) -> list[tuple[str, str]]:
    """The stage that holds the base, for whoever cleans meanwhile; none where it lies outside the workspace."""
    folder = Path(base.path).parent
    return [("base", folder.name)] if folder.parent == run.workspace.root / "stages" / "base" else []


def inherited_keys(base: ResolvedBase) -> tuple[Inherited, ...]:
    """What the base and its ancestors trained on; () where it is no release, or does not say."""
    import pyarrow.parquet as pq

    from contender.data.trainkeys import parse_keys

    path = Path(base.path).parent / TRAIN_KEYS
    return parse_keys(pq.read_table(path)).inherited if base.name.startswith(RELEASE_BASE) and path.exists() else ()
