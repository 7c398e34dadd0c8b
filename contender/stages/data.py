"""The stages that make rows to train and judge on: look, snapshot, quality gate, split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contender.data.source import ReadOptions, ingest, peek
from contender.data.times import ends, spelled
from contender.errors import DataError, SourceChanged, SpecError, UsageError
from contender.files import sha256_file
from contender.plan import columns, features, kept_columns, parts, required_columns, stage_key
from contender.records import FileSet, QualityReport, ReleaseManifest, Snapshot, SplitDefinition, SplitReport, digest
from contender.run import Run
from contender.spec import Spec
from contender.stages.telling import rows_told, staged
from contender.workspace import Staged


def look(run: Run) -> Snapshot:
    """What the source and the golden sets hold now: listed and hashed, not yet read as rows. Takes a fraction of a second."""
    data = run.pipeline.spec.data
    seen = {name: _peek(run, location, f"data.golden.{name}") for name, location in data.golden.items()}
    return Snapshot(source=_peek(run, data.source, "data.source"), golden=seen)


def take_snapshot(run: Run, seen: Snapshot) -> Staged[Snapshot]:
    """Reads every file once, as rows. The record holds what was read; where files changed since `seen`, it is kept as that."""
    data = run.pipeline.spec.data
    roles = list(columns(run.pipeline).values())

    def read(location: str, files: str, peeked: FileSet, needed: list[str], folder: Path) -> FileSet:
        return ingest(
            location,
            peeked,
            read_options(run),
            folder / f"{files}.arrow",
            base=Path(run.pipeline.folder),
            required=needed,
            profile=run.pipeline.spec.profile(location),
            settle=run.settle,
            on_rows=rows_told("snapshot", f"reading {files}"),
        )

    def compute(folder: Path) -> Snapshot:
        golden = {}
        for name, location in data.golden.items():
            with blaming(f"data.golden.{name}"):
                golden[name] = read(location, f"golden-{name}", seen.golden[name], roles, folder)
        with blaming("data.source"):
            source = read(data.source, "source", seen.source, required_columns(run.pipeline), folder)
        return Snapshot(source=source, golden=golden)

    def key_of(snapshot: Snapshot) -> str:
        return stage_key(run.pipeline, "snapshot", seen=snapshot.digest)

    return staged(run, "snapshot", key_of(seen), Snapshot, compute, _read, key_of)


def check_quality(run: Run, snapshot: Staged[Snapshot], champion: ReleaseManifest | None) -> Staged[QualityReport]:
    """The quality gate's report; admitted rows, quarantine and Data Docs lie in its folder."""
    reference = champion.lineage.get("label_shares") if champion else None
    quality = run.pipeline.spec.quality

    def compute(folder: Path) -> QualityReport:
        from contender.quality.process import check_apart

        return check_apart(
            snapshot.folder / "source.arrow",
            folder,
            rows_told("gate", "checking", snapshot.record.source.rows),
            suite=run.pipeline.suite,
            columns=columns(run.pipeline),
            suite_name=run.pipeline.suite_name,
            bad_rows=quality.bad_rows,
            max_bad_fraction=quality.max_bad_fraction,
            in_memory_rows=quality.in_memory_rows,
            reference_label_shares=reference,
        )

    key = stage_key(run.pipeline, "gate", snapshot=snapshot.record.digest, rows=snapshot.key, reference=reference)
    return staged(
        run,
        "gate",
        key,
        QualityReport,
        compute,
        lambda report: report.message,
        finding=lambda report: "good" if report.passed else "bad",
    )


def split_rows(run: Run, snapshot: Staged[Snapshot], quality: Staged[QualityReport]) -> Staged[SplitReport]:
    """Train, validation, test and golden rows, dealt by the definition that the registry froze for this pipeline."""
    definition = frozen_split(run)

    def compute(folder: Path) -> SplitReport:
        from contender.data.split import split

        if run.pipeline.spec.facts.media:
            from contender.data.media import refer

            row_files = ["source", *(f"golden-{name}" for name in run.pipeline.spec.data.golden)]
            refer(folder, snapshot.folder, row_files)
        spec = run.pipeline.spec
        with with_history(spec, snapshot.folder / "source.arrow", quality.folder / "admitted.npy", folder) as read:
            report = split(
                *read,
                columns(run.pipeline),
                kept_columns(run.pipeline, snapshot.record.source.columns),
                definition,
                {name: snapshot.folder / f"golden-{name}.arrow" for name in spec.data.golden},
                folder,
                near_duplicates=spec.data.split.near_duplicates,
                task=spec.facts,
                made=spec.data.features.made,
                on_rows=rows_told("split", "dealing", quality.record.rows - quality.record.quarantined),
                on_held=rows_told("split", "indexing held-out texts"),
            )
        if spec.facts.example is None:
            from contender.data.leaking import refuse_leaks

            named = {*(spec.data.features.columns or ()), *spec.data.features.made}
            refuse_leaks(folder / "train.arrow", set(features(run.pipeline, snapshot.record.source.columns)) - named)
        return report

    admitted = sha256_file(quality.folder / "admitted.npy")
    key = stage_key(run.pipeline, "split", rows=snapshot.key, admitted=admitted, definition=definition.model_dump())
    return staged(run, "split", key, SplitReport, compute, dealt)


@contextmanager
def with_history(spec: Spec, rows: Path, admitted: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The rows to split, and which of them: where features of the past are asked for, a file that has them too, for so long."""
    if spec.data.features.history is None:
        yield rows, admitted
        return
    from contender.data.history import add_history

    made = folder / ".history.arrow", folder / ".history.npy"
    try:
        add_history(rows, admitted, spec.data.features.history, spec.columns["label"], spec.evaluate.positive, *made)
        yield made
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def frozen_split(run: Run) -> SplitDefinition:
    """The registry's split definition; the first run of a pipeline proposes the spec's.

    The salt follows from the pipeline's name, so that the same pipeline on the same data deals the same rows in any registry, and
    whoever repeats a run elsewhere ends with the same model.
    """
    from contender.data.split import NORMALISER

    wanted = run.pipeline.spec.data.split
    proposal = SplitDefinition(
        by=wanted.by,
        key=wanted.key,
        test=wanted.test,
        validation=wanted.validation,
        column=wanted.column,
        gap=wanted.gap,
        salt=digest({"pipeline": run.pipeline.spec.name})[:16],
        normaliser=NORMALISER,
    )
    frozen = run.registry.freeze_split(proposal)
    if _shown(frozen) != _shown(proposal):
        raise SpecError(
            f"data.split is {_shown(proposal)}, but this pipeline's registry holds the split {_shown(frozen)}",
            "Rows must not move between train and test: restore the split, or start a new pipeline under another name.",
        )
    return frozen


def _shown(definition: SplitDefinition) -> str:
    """A split as a spec writes it."""
    if definition.by == "hash":
        return f"{{test: {definition.test}, validation: {definition.validation}, key: {definition.key}}}"
    lengths = {name: getattr(definition, name) for name in ("test", "validation", "gap")}
    written = ", ".join(f"{name}: {spelled(length)}" for name, length in lengths.items())
    return f"{{by: time, column: {definition.column}, {written}, key: {definition.key}}}"


def read_options(run: Run) -> ReadOptions:
    part = parts(run.pipeline)["snapshot"]
    return ReadOptions(
        **part["csv"], **{name: part[name] for name in ("media", "media_column", "chat") if name in part}
    )


def _peek(run: Run, location: str, key: str) -> FileSet:
    with blaming(key):
        return peek(
            location,
            read_options(run),
            base=Path(run.pipeline.folder),
            profile=run.pipeline.spec.profile(location),
            cache=run.peeked_cache,
            settle=run.settle,
        )


@contextmanager
def blaming(key: str) -> Iterator[None]:
    """Errors inside name the spec's key whose files they are about."""
    try:
        yield
    except (UsageError, DataError, SourceChanged) as error:
        raise type(error)(f"{key}: {error.what}", error.fix) from error


def _read(snapshot: Snapshot) -> str:
    golden = "".join(f", golden {name} {files.rows:,}" for name, files in snapshot.golden.items())
    skipped = f" ({len(snapshot.source.skipped):,} skipped)" if snapshot.source.skipped else ""
    files = len(snapshot.source.files)
    unwanted = sum(file.left_out for file in snapshot.source.files)
    left_out = f" ({unwanted:,} left out: answers that nobody wanted)" if unwanted else ""
    return f"{files:,} file{'' if files == 1 else 's'}{skipped}, {snapshot.source.rows:,} rows{left_out}{golden}"


def dealt(split: SplitReport) -> str:
    """The split in one line."""
    removed = split.removed_leaks + split.removed_near_duplicates + split.removed_duplicates
    conflicts = split.removed_conflicts
    # A record that was found has its sets sorted by name.
    golden = sorted(name for name in split.rows if name.startswith("golden-"))
    sets = [name for name in ("train", "validation", "test", *golden) if name in split.rows]
    told = [", ".join(f"{name} {split.rows[name]:,}" for name in sets)]
    told += [ends(split.begins)] if split.begins else []
    told += [f"{split.removed_gap:,} in the gap"] if split.removed_gap else []
    told += [f"{removed:,} removed"] if removed else []
    told += [f"{conflicts:,} held-out rows contradict each other"] if conflicts else []
    return "; ".join(told)
