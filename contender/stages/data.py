"""The stages that make rows to train and judge on: look, snapshot, quality gate, split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contender.data.source import ReadOptions, ingest, peek
from contender.files import sha256_file
from contender.plan import columns, parts, required_columns, stage_key
from contender.records import FileSet, QualityReport, ReleaseManifest, Snapshot, SplitDefinition, SplitReport
from contender.run import Run
from contender.stages.telling import rows_told, staged
from contender.workspace import Staged


def look(run: Run) -> Snapshot:
    """What the source and the golden sets hold now: listed and hashed, not yet read as rows. Takes a fraction of a second."""
    source, golden = _locations(run)
    seen = {name: _peek(run, location) for name, location in golden.items()}
    return Snapshot(source=_peek(run, source), golden=seen)


def take_snapshot(run: Run, seen: Snapshot) -> Staged[Snapshot]:
    """Reads every file once, as rows; the record holds what was read, which is the truth where a file changed since `seen`."""
    source, golden = _locations(run)
    options = _read_options(run)
    required = required_columns(run.pipeline)
    roles = list(columns(run.pipeline).values())

    def read(location: str, files: str, needed: list[str], folder: Path) -> FileSet:
        on_rows = rows_told("snapshot", f"reading {files}")
        return ingest(
            location,
            seen.source if files == "source" else seen.golden[files.removeprefix("golden-")],
            options,
            folder / f"{files}.arrow",
            base=Path(run.pipeline.folder),
            required=needed,
            profile=run.pipeline.spec.profile(location),
            on_rows=on_rows,
        )

    def compute(folder: Path) -> Snapshot:
        held = {name: read(location, f"golden-{name}", roles, folder) for name, location in golden.items()}
        return Snapshot(source=read(source, "source", required, folder), golden=held)

    key = stage_key(run.pipeline, "snapshot", seen=seen.digest)
    return staged(run, "snapshot", key, Snapshot, compute, _read)


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
    return staged(run, "gate", key, QualityReport, compute, lambda report: report.message)


def split_rows(run: Run, snapshot: Staged[Snapshot], quality: Staged[QualityReport]) -> Staged[SplitReport]:
    """Train, validation, test and golden rows, dealt by the definition that the registry froze for this pipeline."""
    definition = frozen_split(run)

    def compute(folder: Path) -> SplitReport:
        from contender.data.split import split

        return split(
            snapshot.folder / "source.arrow",
            quality.folder / "admitted.npy",
            columns(run.pipeline),
            run.pipeline.spec.evaluate.slices,
            definition,
            {name: snapshot.folder / f"golden-{name}.arrow" for name in run.pipeline.spec.data.golden},
            folder,
        )

    admitted = sha256_file(quality.folder / "admitted.npy")
    key = stage_key(run.pipeline, "split", rows=snapshot.key, admitted=admitted, definition=definition.model_dump())
    return staged(run, "split", key, SplitReport, compute, _dealt)


def frozen_split(run: Run) -> SplitDefinition:
    """The registry's split definition; the first run of a pipeline proposes the spec's."""
    import secrets

    from contender.data.split import NORMALISER
    from contender.errors import SpecError

    wanted = run.pipeline.spec.data.split
    proposal = SplitDefinition(
        key=wanted.key, test=wanted.test, validation=wanted.validation, salt=secrets.token_hex(8), normaliser=NORMALISER
    )
    frozen = run.registry.freeze_split(proposal)
    if (frozen.key, frozen.test, frozen.validation) != (wanted.key, wanted.test, wanted.validation):
        raise SpecError(
            f"data.split is {{test: {wanted.test}, validation: {wanted.validation}, key: {wanted.key}}}, but this pipeline's "
            f"registry holds the split {{test: {frozen.test}, validation: {frozen.validation}, key: {frozen.key}}}",
            "Rows must not move between train and test: restore the split, or start a new pipeline under another name.",
        )
    return frozen


def _locations(run: Run) -> tuple[str, Mapping[str, str]]:
    data = run.pipeline.spec.data
    return data.source, data.golden


def _read_options(run: Run) -> ReadOptions:
    return ReadOptions(**parts(run.pipeline)["snapshot"]["csv"])


def _peek(run: Run, location: str) -> FileSet:
    spec = run.pipeline.spec
    return peek(
        location,
        _read_options(run),
        base=Path(run.pipeline.folder),
        profile=spec.profile(location),
        cache=run.peeked_cache,
    )


def _read(snapshot: Snapshot) -> str:
    golden = "".join(f", golden {name} {files.rows:,}" for name, files in snapshot.golden.items())
    skipped = f" ({len(snapshot.source.skipped):,} skipped)" if snapshot.source.skipped else ""
    return f"{len(snapshot.source.files):,} files{skipped}, {snapshot.source.rows:,} rows{golden}"


def _dealt(split: SplitReport) -> str:
    removed = split.removed_leaks + split.removed_duplicates
    return ", ".join(f"{name} {rows:,}" for name, rows in split.rows.items()) + (
        f"; {removed:,} removed" if removed else ""
    )
