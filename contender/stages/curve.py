"""Trainings on nested fractions of the training rows: the parts themselves, and the curve over the scores of their models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from contender.curve import CurveReport, check_rows, curve_of
from contender.errors import UsageError
from contender.evaluation.scope import with_scope
from contender.noise import Trial
from contender.plan import columns, stage_key
from contender.records import Snapshot, SplitReport
from contender.run import Run
from contender.spec import Pipeline
from contender.stages.measuring import Measured, measured, with_seeds
from contender.stages.telling import staged
from contender.workspace import Staged

ON = "validation"  # held-out rows stay for the judge: what is learned of them by a curve would be a look

RESAMPLES = 400  # each is a fit of its own, of some milliseconds


class PartReport(SplitReport):
    """A split whose training rows are a part of another's."""

    added_for_labels: int = 0


class CurveResult(Measured):
    """What the curve came to; the contract of `contender curve --json`."""

    curve: CurveReport | None = None


def check_validation(pipeline: Pipeline) -> None:
    """UsageError where the spec keeps no row to score on: known before a row is read."""
    if not pipeline.spec.data.split.validation:
        raise UsageError(
            "data.split.validation is 0, and a curve is drawn on validation rows: those of test are for verdicts alone",
            "Set data.split.validation, in a pipeline under another name where this one has its split already.",
        )


def take_fraction(run: Run, split: Staged[SplitReport], fraction: float) -> Staged[SplitReport]:
    """The split with a part of its training rows; the split itself where that is the whole, so that a run's training is found.

    Its label counts stay those of the whole: which label of a table is the rare one is not to hang on the fraction.
    """
    if fraction == 1:
        return split
    key, compute = part_of(run, split, fraction)
    return cast(
        Staged[SplitReport],
        staged(run, "fraction", key, PartReport, compute, lambda part: _told(part, split.record, fraction)),
    )


def part_of(run: Run, split: Staged[SplitReport], fraction: float) -> tuple[str, Callable[[Path], PartReport]]:
    """Key and computation of a part of a split's training rows, for whoever tells of it in other words."""
    spec = run.pipeline.spec

    def compute(folder: Path) -> PartReport:
        from contender.data.fractions import take_fraction

        part = take_fraction(split.folder, fraction, list(columns(run.pipeline)), spec.facts, folder)
        rows = {"train": part.rows, ON: split.record.rows[ON]}
        digests = {"train": part.digest, ON: split.record.digests[ON]}
        changes = {"rows": rows, "digests": digests, "added_for_labels": part.added}
        return PartReport.model_validate(split.record.model_dump() | changes)

    return stage_key(run.pipeline, "fraction", split=split.key, fraction=fraction), compute


def _told(part: PartReport, whole: SplitReport, fraction: float) -> str:
    added = f", {part.added_for_labels:,} of them so that every label has one" if part.added_for_labels else ""
    return f"{fraction:.4g}: {part.rows['train']:,} of {whole.rows['train']:,} training rows{added}"


def planned(
    run: Run, split: Staged[SplitReport], parts: Sequence[Staged[SplitReport]], fractions: Sequence[float], seeds: int
) -> list[tuple[Run, Staged[SplitReport], str]]:
    """Every training, the smallest fraction's first: its run, its rows, and which of how many it is.

    UsageError where there is no validation row, or a fraction has too few.
    """
    if not split.record.rows.get(ON):
        raise UsageError(
            "no row is in validation, on which the models would be tried",
            "Bring more rows, or raise data.split.validation.",
        )
    check_rows(fractions, [part.record.rows["train"] for part in parts], split.record.rows["train"])
    every = [(seeded, part) for part in parts for seeded in with_seeds(run, seeds)]
    return [
        (seeded, part, f"{part.record.rows['train']:,} rows, {place} of {len(every)}")
        for place, (seeded, part) in enumerate(every, start=1)
    ]


def draw_curve(
    run: Run,
    split: Staged[SplitReport],
    parts: Sequence[Staged[SplitReport]],
    fractions: Sequence[float],
    trials: Sequence[Trial],
) -> CurveReport:
    """The curve over all trials, which are of each part in turn: as many seeds of the first, as many of the second…"""
    import numpy as np
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import metric
    from contender.evaluation.outcomes import from_table
    from contender.judging.resampling import together

    primary, scope = run.pipeline.spec.evaluate.metrics[0], run.pipeline.spec.evaluate.out_of_scope
    tables = [with_scope(pq.read_table(trial.outcomes), scope) for trial in trials]
    keys = tables[0].column("key").to_numpy()
    drawn = together(primary, [from_table(table) for table in tables], keys, resamples=RESAMPLES)
    seeds = len(trials) // len(parts)
    shape = (len(parts), seeds)
    return curve_of(
        run.pipeline.spec.name,
        primary,
        metric(primary).span,
        split.record.rows["train"],
        tables[0].num_rows,
        [trial.seed for trial in trials[:seeds]],
        fractions,
        [part.record.rows["train"] for part in parts],
        [[trial.model for trial in trials[at : at + seeds]] for at in range(0, len(trials), seeds)],
        np.array([trial.metrics[primary] for trial in trials]).reshape(shape),
        drawn.reshape(*shape, -1),
    )


def curve_done(run: Run, snapshot: Snapshot, report: CurveReport) -> CurveResult:
    return measured(CurveResult, run, "done", report.sentence, snapshot=snapshot.digest, curve=report)
