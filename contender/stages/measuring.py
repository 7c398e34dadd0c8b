"""Measurements: trainings of a pipeline that release, judge and promote nothing, and what such a run comes to."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from contender import contest
from contender.errors import ContenderError
from contender.evaluation.scope import with_scope
from contender.noise import Trial
from contender.progress import Note, tell
from contender.records import Outcome, QualityReport, Record, ReleaseManifest, Snapshot, SplitReport, TrainReport
from contender.run import EXIT_CODES, Run, StageTime, outcome_of
from contender.spending import Spent
from contender.stages.model import Predictions, predict_trained
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
    # Each of them may use what the one of a run may.
    return replace(run.with_spec(seeded), spent=Spent())


@dataclass(frozen=True)
class Scored:
    """A trained model on a set: the digest that a release of it would have, its outcomes, and what they come to."""

    digest: str
    predicted: Staged[Predictions]
    outcomes: Path
    rows: int
    metrics: dict[str, float]


def score(run: Run, model: Staged[TrainReport], split: Staged[SplitReport], on: str, stage: str) -> Scored:
    """The metrics of one trained model on a set; its progress is told of as a part of `stage`."""
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import compute

    evaluate = run.pipeline.spec.evaluate
    digest, predicted = predict_trained(run, model, split, on, stage)
    path = predicted.folder / "outcomes.parquet"
    outcomes = with_scope(pq.read_table(path), evaluate.out_of_scope)
    return Scored(digest, predicted, path, outcomes.num_rows, compute(outcomes, evaluate.metrics))


def try_out(run: Run, model: Staged[TrainReport], split: Staged[SplitReport], on: str, stage: str, place: str) -> Trial:
    """The metrics of one trained model on a set, told of as `stage`; `place` says which of how many it is."""
    started, seed = time.monotonic(), run.pipeline.spec.train.seed
    tell(Note(stage, "started"))
    found = score(run, model, split, on, "evaluate")
    trial = Trial(
        seed=seed,
        model=found.digest,
        metrics=found.metrics,
        rows=found.rows,
        precision=model.record.precision,
        trained_on=model.record.device,
        device=found.predicted.record.device,
        dtype=found.predicted.record.dtype,
        outcomes=str(found.outcomes),
    )
    shown = ", ".join(f"{name} {value:.4f}" for name, value in trial.metrics.items())
    text = f"seed {seed} ({place}) on {on}: {shown}"
    finish(run, stage, found.predicted.key, text, found.predicted.cached, time.monotonic() - started)
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
