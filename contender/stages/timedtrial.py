"""A trial: some steps of a training on a few rows, timed in a process like its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contender.estimate import Estimate, estimated, steps_of
from contender.kinds import kind
from contender.plan import parts, stage_key
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.stages.model import job_of, training_versions
from contender.training.devices import cpu_cores
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.keys import Array
    from contender.models import ResolvedBase

STEPS, QUICK_STEPS = 12, 64  # of an epoch of the trial; where a step takes a millisecond, more of them
MOST_ROWS = 4_096  # to train on in the trial: method head computes the features of all of them before its first step
EVALUATIONS = 4  # batches of validation
EPOCHS = 3  # the first of them pays for what a process does once
LEAST_SECONDS, MOST_SECONDS, LEAST_STEPS = 3.0, 30.0, 4
NEVER = 86_400.0  # seconds between checkpoints


def trial_key(run: Run, base: str, **rows: object) -> str:
    """The key of the estimate for training the base with this digest on these `rows`, on this many cores."""
    return stage_key(
        run.pipeline,
        "estimate",
        train=parts(run.pipeline)["train"],
        base=base,
        kind=kind(run.pipeline.spec.task).revision,
        versions=training_versions(run.pipeline.spec.model.method),
        cores=cpu_cores(),
        **rows,
    )


def timed_trial(
    run: Run, base: ResolvedBase, sample: Staged[SplitReport], rows: int, validation: int, folder: Path
) -> tuple[TrainReport, Estimate]:
    """Trains a few steps on the `sample` in `folder`; the estimate is of the training on so many rows, evaluated on so many.

    The trial is a training of as many steps as the real one would have, which decides its precision, ended after some epochs.
    """
    from contender.store import LocalStore
    from contender.training.launcher import Attempts, CheckpointOptions, Trial, run_job

    train, has = run.pipeline.spec.train, sample.record.rows
    steps = steps_of(rows, train.batch_size, train.epochs)
    epochs = max(EPOCHS, steps / steps_of(has["train"], train.batch_size, 1))
    options = train.model_copy(update={"epochs": epochs, "early_stopping": 0})
    with run.hold_device() as environment:
        report = run_job(
            job_of(run, base, sample, folder / "model").model_copy(update={"options": options}),
            folder,
            Attempts(LocalStore(folder / "records"), "trial"),
            checkpoint=CheckpointOptions(every=NEVER),
            trial=Trial(epochs=EPOCHS, steps=LEAST_STEPS, least_seconds=LEAST_SECONDS, most_seconds=MOST_SECONDS),
            environment=environment,
        )
    sizes = has["train"], has["validation"]
    return report, estimated(report, sizes, rows, validation, train.epochs, train.batch_size)


def read_roles(run: Run, names: Iterable[str]) -> list[str]:
    """Of the roles' `names` those whose texts a model reads or learns to write: the length of an example is theirs."""
    facts = run.pipeline.spec.facts
    return [name for name in names if name != facts.target or facts.labels == "none"]


def training_rows(run: Run, lengths: Array, most: int) -> Array:
    """Places (n,), sorted, of the rows that a trial trains on, at most so many: whole batches, from the shortest to the longest."""
    from contender.data.lengths import spread

    spec = run.pipeline.spec
    quick = spec.model.method == "head" or spec.facts.example is None
    several = 4 if spec.train.packing else 1  # that a packed row holds, or more
    steps = QUICK_STEPS if quick else STEPS
    enough = max(LEAST_STEPS * spec.train.batch_size, min(several * steps * spec.train.batch_size, MOST_ROWS))
    return spread(lengths, min(most, enough), spec.train.batch_size)


def validation_rows(run: Run, lengths: Array, most: int) -> Array:
    """The same, of the rows that it is evaluated on."""
    from contender.data.lengths import spread
    from contender.training.options import EVALUATION_BATCH

    at_once = max(EVALUATION_BATCH, run.pipeline.spec.train.batch_size)
    return spread(lengths, min(most, EVALUATIONS * at_once), at_once)


def small_part(run: Run, split: Staged[SplitReport], folder: Path) -> Staged[SplitReport]:
    """A part of a split in `folder`, for a trial: rows whose lengths are spread as those of all of them."""
    from contender.data.lengths import lengths_of
    from contender.data.media import REFERENCE
    from contender.files import link_or_copy

    read = read_roles(run, run.pipeline.spec.columns)
    rows = {}
    for name in ("train", "validation"):
        lengths = lengths_of(split.folder / f"{name}.arrow", [], read)
        places = (training_rows if name == "train" else validation_rows)(run, lengths, len(lengths))
        taken = np.isin(np.arange(len(lengths)), places)
        write_sets(split.folder / f"{name}.arrow", [folder / f"{name}.arrow"], [taken])
        rows[name] = len(places)
    if (split.folder / REFERENCE).exists():
        link_or_copy(split.folder / REFERENCE, folder / REFERENCE)
    return Staged("split", "", split.record.model_copy(update={"rows": rows}), folder, cached=False, seconds=0.0)


def write_sets(rows: Path, sets: list[Path], chosen: list[np.ndarray]) -> None:
    """`chosen`: for each of the sets, which rows it takes."""
    from contender.data.rowfile import write_parts

    start = 0

    def masks(batch: pa.RecordBatch) -> list[np.ndarray]:
        nonlocal start
        here, start = slice(start, start + batch.num_rows), start + batch.num_rows
        return [one[here] for one in chosen]

    write_parts([rows], sets, masks)
