"""Measurements: trainings of a pipeline that release, judge and promote nothing, and what such a run comes to."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal, TypeVar

from contender import contest
from contender.errors import ContenderError
from contender.evaluation.scope import with_scope
from contender.noise import Trial
from contender.progress import Note, tell
from contender.records import Outcome, QualityReport, Record, ReleaseManifest, Snapshot, SplitReport, TrainReport
from contender.run import EXIT_CODES, Run, StageTime, outcome_of
from contender.stages.model import predict_trained
from contender.stages.telling import finish
from contender.workspace import Staged

SEEDS = 2**31


class Measured(Record):
    """What a measurement came to; the contract of its command's `--json`."""

    pipeline: str
    outcome: Outcome | Literal["done"]
    message: str
    snapshot: str | None = None
    seconds: float
    stages: tuple[StageTime, ...] = ()
    flow_run_id: str | None = None
    quarantine: str | None = None
    data_docs: str | None = None
    registry: str | None = None

    @property
    def exit_code(self) -> int:
        return 0 if self.outcome == "done" else EXIT_CODES[self.outcome]


M = TypeVar("M", bound=Measured)


def find_live(run: Run) -> ReleaseManifest | None:
    """The live release, whose label shares the quality gate compares with; only read.

    Raises UnsafeStore where the store would not keep the record apart from another's: hours of training before anybody noticed.
    """
    run.registry.require_safe(guarded=run.pipeline.spec.promote.single_writer)
    return contest.find_live(run).manifest


def with_seeds(run: Run, count: int) -> list[Run]:
    """The run once for each seed: the pipeline's own first, so that its training is found, then the numbers that follow."""
    first = run.pipeline.spec.train.seed
    return [_seeded(run, (first + more) % SEEDS) for more in range(count)]


def _seeded(run: Run, seed: int) -> Run:
    spec = run.pipeline.spec
    seeded = spec.model_copy(update={"train": spec.train.model_copy(update={"seed": seed})})
    return replace(run, pipeline=run.pipeline.model_copy(update={"spec": seeded}))


def try_out(run: Run, model: Staged[TrainReport], split: Staged[SplitReport], on: str, stage: str, place: str) -> Trial:
    """The metrics of one trained model on a set, told of as `stage`; `place` says which of how many it is."""
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import compute

    started, seed = time.monotonic(), run.pipeline.spec.train.seed
    tell(Note(stage, "started"))
    digest, predicted = predict_trained(run, model, split, on)
    outcomes = with_scope(pq.read_table(predicted.folder / "outcomes.parquet"), run.pipeline.spec.evaluate.out_of_scope)
    trial = Trial(
        seed=seed,
        model=digest,
        metrics=compute(outcomes, run.pipeline.spec.evaluate.metrics),
        rows=outcomes.num_rows,
        precision=model.record.precision,
        trained_on=model.record.device,
        device=predicted.record.device,
        dtype=predicted.record.dtype,
        outcomes=str(predicted.folder / "outcomes.parquet"),
    )
    shown = ", ".join(f"{name} {value:.4f}" for name, value in trial.metrics.items())
    text = f"seed {seed} ({place}) on {on}: {shown}"
    finish(run, stage, predicted.key, text, predicted.cached, time.monotonic() - started)
    return trial


def refused(kind: type[M], run: Run, snapshot: Snapshot, quality: Staged[QualityReport]) -> M:
    """Bad data stops before anything is trained; no decision is recorded, since nothing was to be decided."""
    from contender.conclusion import quality_places

    places = quality_places(quality)
    return measured(kind, run, "rejected_data", quality.record.message, snapshot=snapshot.digest, **places)


def ended_by(kind: type[M], run: Run, error: ContenderError) -> M:
    """What a run had come to when an error ended it."""
    return measured(kind, run, outcome_of(error), error.in_one_line)


def measured(kind: type[M], run: Run, outcome: Outcome | Literal["done"], message: str, **details: object) -> M:
    return kind.model_validate(
        {
            "pipeline": run.pipeline.spec.name,
            "outcome": outcome,
            "message": message,
            "seconds": round(time.monotonic() - run.started, 3),
            "stages": tuple(run.stages),
            "flow_run_id": run.flow_run_id,
            "registry": run.registry.url,
            **details,
        }
    )
