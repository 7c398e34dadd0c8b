"""How long a training will take, from some steps of it: for `contender check --probe`, and where a run compares bases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contender import stopping
from contender.errors import DataError, Interrupted
from contender.estimate import Estimate
from contender.files import empty_folder
from contender.plan import columns, kept_columns, parts
from contender.records import Snapshot, SplitDefinition, SplitReport, TrainReport
from contender.run import Run
from contender.stages.data import with_history
from contender.stages.timedtrial import (
    read_roles,
    small_part,
    timed_trial,
    training_rows,
    trial_key,
    validation_rows,
    write_sets,
)
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase


def estimate_key(run: Run, snapshot: str, base: str) -> str:
    """The key of the estimate for training the base with this digest on the snapshot with that one, on this many cores."""
    read = parts(run.pipeline)
    return trial_key(run, base, snapshot=[read["snapshot"], snapshot], split=read["split"])


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

    def compute(folder: Path) -> Estimate:
        rows, validation = expected["train"], expected["validation"]
        sets = _sample(run, snapshot, labels, rows, validation, folder)
        try:
            report, found = timed_trial(run, base, sets, rows, validation, folder / "job")
        except Interrupted as error:
            raise Interrupted(
                "the probe was interrupted, and nothing of it is kept", "Run the same command again."
            ) from error
        return _kept(folder, report, found)

    key = estimate_key(run, snapshot.record.digest, base.digest)
    return run.workspace.stage("estimate", key, Estimate, compute, share=False).record  # of this machine alone


def estimate_on(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> Estimate:
    """The estimate for training a base on a split that is there; found where it was made before."""

    def compute(folder: Path) -> Estimate:
        rows = split.record.rows
        sample = small_part(run, split, folder)
        try:
            report, found = timed_trial(run, base, sample, rows["train"], rows["validation"], folder / "job")
        except Interrupted as error:  # its checkpoint goes with the folder
            raise stopping.interrupted() from error
        return _kept(folder, report, found)

    key = trial_key(run, base.digest, rows=[split.record.digests[name] for name in ("train", "validation")])
    return run.workspace.stage("estimate", key, Estimate, compute, share=False).record


def _sample(
    run: Run, snapshot: Staged[Snapshot], labels: dict[str, int], rows: int, validation: int, folder: Path
) -> Staged[SplitReport]:
    """A small split in `folder`, of rows whose lengths are spread as those of all rows. The quality gate has seen none of them."""
    from contender.data.lengths import lengths_of

    source, roles = snapshot.folder / "source.arrow", columns(run.pipeline)
    lengths = lengths_of(source, roles.values(), [roles[name] for name in read_roles(run, roles)])
    whole = np.flatnonzero(lengths >= 0)
    lengths = lengths[whole]
    if not min(rows, len(whole)):
        raise DataError("there are no rows to time a training on", "Bring more rows, or hold out less in data.split.")
    trains = whole[training_rows(run, lengths, rows)]
    validates = whole[validation_rows(run, lengths, validation)]
    taken = np.union1d(trains, validates)
    report = _dealt(run, snapshot, taken, folder)
    sets = [folder / f"{name}.arrow" for name in ("validation", "train")]
    write_sets(folder / "rows" / "train.arrow", sets, [np.isin(taken, one) for one in (validates, trains)])
    record = report.model_copy(
        update={
            "rows": {"train": len(trains), "validation": len(validates)},
            "labels": tuple(sorted({*report.labels, *labels})),
            "label_counts": {"train": labels or report.label_counts["train"]},
        }
    )
    return Staged("split", "", record, folder, cached=False, seconds=0.0)


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


def _kept(folder: Path, report: TrainReport, found: Estimate) -> Estimate:
    """Of a trial its times alone are kept."""
    empty_folder(folder)
    (folder / "trial.json").write_bytes(report.to_bytes())
    return found
