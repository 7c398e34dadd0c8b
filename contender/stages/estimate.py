"""The stage behind `contender check --probe`: some steps of the training that a run would do, timed in a process like its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contender.errors import DataError, Interrupted
from contender.estimate import Estimate, estimated, steps_of
from contender.files import empty_folder
from contender.kinds import kind
from contender.plan import columns, kept_columns, parts, stage_key
from contender.records import Snapshot, SplitDefinition, SplitReport, TrainReport
from contender.run import Run
from contender.stages.data import with_history
from contender.stages.model import job_of, training_versions
from contender.training.devices import cpu_cores
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.models import ResolvedBase

STEPS, QUICK_STEPS = 12, 64  # of an epoch of the trial; where a step takes a millisecond, more of them
MOST_ROWS = 4_096  # to train on in the trial: method head computes the features of all of them before its first step
EVALUATIONS = 4  # batches of validation
EPOCHS = 3  # the first of them pays for what a process does once
LEAST_SECONDS, MOST_SECONDS, LEAST_STEPS = 3.0, 30.0, 4
NEVER = 86_400.0  # seconds between checkpoints


def estimate_key(run: Run, snapshot: str, base: str) -> str:
    """The key of the estimate for training the base with this digest on the snapshot with that one, on this many cores."""
    spec, read = run.pipeline.spec, parts(run.pipeline)
    return stage_key(
        run.pipeline,
        "estimate",
        train=read["train"],
        snapshot=[read["snapshot"], snapshot],
        split=read["split"],
        base=base,
        kind=kind(spec.task).revision,
        versions=training_versions(spec.model.method),
        cores=cpu_cores(),
    )


def known_estimate(run: Run, snapshot: str, base: str) -> Estimate | None:
    """What an earlier `contender check --probe` in this workspace found for this very training."""
    found = run.workspace.find("estimate", estimate_key(run, snapshot, base), Estimate)
    return found.record if found else None


def estimate_training(
    run: Run, base: ResolvedBase, snapshot: Staged[Snapshot], labels: dict[str, int], expected: dict[str, int]
) -> Estimate:
    """The estimate; found where it was made before. `labels`: rows of each; `expected`: set → rows that a run would have, about.

    DataError where there is nothing to train on, and whatever else a run would end with in its training.
    """
    spec = run.pipeline.spec

    def compute(folder: Path) -> Estimate:
        rows, validation = expected["train"], expected["validation"]
        sets = _sample(run, snapshot, labels, rows, validation, folder)
        sample = sets.record.rows["train"], sets.record.rows["validation"]
        report = _timed(run, base, sets, steps_of(rows, spec.train.batch_size, spec.train.epochs), folder / "job")
        empty_folder(folder)
        (folder / "trial.json").write_bytes(report.to_bytes())
        return estimated(report, sample, rows, validation, spec.train.epochs, spec.train.batch_size)

    key = estimate_key(run, snapshot.record.digest, base.digest)
    return run.workspace.stage("estimate", key, Estimate, compute, share=False).record  # of this machine alone


def _sample(
    run: Run, snapshot: Staged[Snapshot], labels: dict[str, int], rows: int, validation: int, folder: Path
) -> Staged[SplitReport]:
    """A small split in `folder`, of rows whose lengths are spread as those of all rows. The quality gate has seen none of them."""
    from contender.data.lengths import lengths_of, spread
    from contender.training.options import EVALUATION_BATCH

    spec, source = run.pipeline.spec, snapshot.folder / "source.arrow"
    roles = columns(run.pipeline)
    read = [column for role, column in roles.items() if role != spec.facts.target or spec.facts.labels == "none"]
    lengths = lengths_of(source, roles.values(), read)
    whole = np.flatnonzero(lengths >= 0)
    lengths = lengths[whole]
    if not min(rows, len(whole)):
        raise DataError("there are no rows to time a training on", "Bring more rows, or hold out less in data.split.")
    trains = whole[spread(lengths, min(rows, _most_rows(run)), spec.train.batch_size)]
    at_once = max(EVALUATION_BATCH, spec.train.batch_size)
    validates = whole[spread(lengths, min(validation, EVALUATIONS * at_once), at_once)]
    taken = np.union1d(trains, validates)
    report = _dealt(run, snapshot, taken, folder)
    _write_sets(folder / "rows" / "train.arrow", [np.isin(taken, one) for one in (validates, trains)], folder)
    record = report.model_copy(
        update={
            "rows": {"train": len(trains), "validation": len(validates)},
            "labels": tuple(sorted({*report.labels, *labels})),
            "label_counts": {"train": labels or report.label_counts["train"]},
        }
    )
    return Staged("split", "", record, folder, cached=False, seconds=0.0)


def _most_rows(run: Run) -> int:
    spec = run.pipeline.spec
    quick = spec.model.method == "head" or spec.facts.example is None
    several = 4 if spec.train.packing else 1  # that a packed row holds, or more
    steps = QUICK_STEPS if quick else STEPS
    return max(LEAST_STEPS * spec.train.batch_size, min(several * steps * spec.train.batch_size, MOST_ROWS))


def _dealt(run: Run, snapshot: Staged[Snapshot], taken: np.ndarray, folder: Path) -> SplitReport:
    """These rows as a split would have them, all in one set."""
    from contender.data.normalise import NORMALISER
    from contender.data.split import split

    spec = run.pipeline.spec
    if spec.facts.media:
        from contender.data.media import refer

        refer(folder, snapshot.folder, ["source"])
    (folder / "rows").mkdir()
    np.save(folder / "admitted.npy", taken.astype(np.int64))
    definition = SplitDefinition(key=spec.data.split.key, validation=0.0, salt="", normaliser=NORMALISER)
    source = snapshot.folder / "source.arrow"
    with with_history(spec, source, folder / "admitted.npy", folder) as read:
        kept = kept_columns(run.pipeline, snapshot.record.source.columns)
        made = spec.data.features.made
        return split(*read, columns(run.pipeline), kept, definition, {}, folder / "rows", task=spec.facts, made=made)


def _write_sets(rows: Path, chosen: list[np.ndarray], folder: Path) -> None:
    """`chosen`: which rows validate, and which train."""
    from contender.data.rowfile import write_parts

    start = 0

    def masks(batch: pa.RecordBatch) -> list[np.ndarray]:
        nonlocal start
        here, start = slice(start, start + batch.num_rows), start + batch.num_rows
        return [one[here] for one in chosen]

    write_parts([rows], [folder / "validation.arrow", folder / "train.arrow"], masks)


def _timed(run: Run, base: ResolvedBase, sets: Staged[SplitReport], steps: int, folder: Path) -> TrainReport:
    """The trial: a training of as many steps as the real one would have, which decides its precision, ended after some epochs."""
    from contender.store import LocalStore
    from contender.training.launcher import Attempts, CheckpointOptions, Trial, run_job

    spec = run.pipeline.spec
    epochs = max(EPOCHS, steps / steps_of(sets.record.rows["train"], spec.train.batch_size, 1))
    options = spec.train.model_copy(update={"epochs": epochs, "early_stopping": 0})
    job = job_of(run, base, sets, folder / "model").model_copy(update={"options": options})
    trial = Trial(epochs=EPOCHS, steps=LEAST_STEPS, least_seconds=LEAST_SECONDS, most_seconds=MOST_SECONDS)
    try:
        with run.hold_device() as environment:
            return run_job(
                job,
                folder,
                Attempts(LocalStore(folder / "records"), "trial"),
                checkpoint=CheckpointOptions(every=NEVER),
                trial=trial,
                environment=environment,
            )
    except Interrupted as error:
        raise Interrupted(
            "the probe was interrupted, and nothing of it is kept", "Run the same command again."
        ) from error
