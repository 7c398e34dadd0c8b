"""The same training with other seeds: each one's model tried on the set that the pipeline is judged on, and the record of it all."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from contender import contest
from contender.errors import ContenderError, DataError
from contender.evaluation.scope import with_scope
from contender.noise import NoiseReport, Trial, noise_key, size, spread
from contender.plan import REVISIONS, judged_set, parts
from contender.progress import Note, tell
from contender.records import Outcome, QualityReport, Record, ReleaseManifest, Snapshot, SplitReport, TrainReport
from contender.registry.layout import now
from contender.run import EXIT_CODES, Run, StageTime, outcome_of
from contender.stages.model import predict_trained, training_versions
from contender.stages.telling import finish
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase

SEEDS = 2**31


class NoiseResult(Record):
    """What measuring the noise came to; the contract of `contender noise --json`."""

    pipeline: str
    outcome: Outcome | Literal["done"]
    message: str
    snapshot: str | None = None
    noise: NoiseReport | None = None
    seconds: float
    stages: tuple[StageTime, ...] = ()
    flow_run_id: str | None = None
    quarantine: str | None = None
    data_docs: str | None = None
    registry: str | None = None

    @property
    def exit_code(self) -> int:
        return 0 if self.outcome == "done" else EXIT_CODES[self.outcome]


def find_live(run: Run) -> ReleaseManifest | None:
    """The live release, whose label shares the quality gate compares with; only read.

    Raises UnsafeStore where the store would not keep the record apart from another's: hours of training before anybody noticed.
    """
    run.registry.require_safe(guarded=run.pipeline.spec.promote.single_writer)
    return contest.find_live(run).manifest


def with_other_seeds(run: Run, runs: int, split: Staged[SplitReport]) -> list[Run]:
    """The run once for each seed: the pipeline's own first, so that its training is found, then the numbers that follow.

    DataError where nothing is held out to try the models on.
    """
    on, first = judged_set(run.pipeline), run.pipeline.spec.train.seed
    if not split.record.rows.get(on):
        raise DataError(f"no row is in {on}, on which the models would be tried", "Bring more data, or hold more out.")
    return [_seeded(run, (first + more) % SEEDS) for more in range(runs)]


def _seeded(run: Run, seed: int) -> Run:
    spec = run.pipeline.spec
    seeded = spec.model_copy(update={"train": spec.train.model_copy(update={"seed": seed})})
    return replace(run, pipeline=run.pipeline.model_copy(update={"spec": seeded}))


def try_out(run: Run, model: Staged[TrainReport], split: Staged[SplitReport], place: str) -> Trial:
    """The metrics of one seed's model; `place` says which of how many it is."""
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import compute

    started, seed, on = time.monotonic(), run.pipeline.spec.train.seed, judged_set(run.pipeline)
    tell(Note("noise", "started"))
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
    )
    shown = ", ".join(f"{name} {value:.4f}" for name, value in trial.metrics.items())
    text = f"seed {seed} ({place}) on {on}: {shown}"
    finish(run, "noise", predicted.key, text, predicted.cached, time.monotonic() - started)
    return trial


def keep_noise(run: Run, base: ResolvedBase, split: Staged[SplitReport], trials: list[Trial]) -> NoiseReport:
    """The spread of all trials, as a record in the registry; the one that stands where this was measured before."""
    from contender.evaluation.evaluate import metric_revisions
    from contender.kinds import kind

    on, metrics = judged_set(run.pipeline), run.pipeline.spec.evaluate.metrics
    digests = {name: split.record.digests[name] for name in ("train", "validation", on)}
    seeds, versions = tuple(trial.seed for trial in trials), training_versions(run.pipeline.spec.model.method)
    inputs: dict[str, object] = {
        "split": digests,
        "labels": split.record.labels,
        "train": parts(run.pipeline)["train"],
        "kind": kind(run.pipeline.spec.task).revision,
        "revision": REVISIONS["train"],
        "base": base.digest,
        "versions": versions,
        "metrics": metric_revisions(metrics),
        "on": on,
        **({"out_of_scope": label} if (label := run.pipeline.spec.evaluate.out_of_scope) else {}),
        "seeds": seeds,
        "models": [trial.model for trial in trials],
        "device": [_all(trial.device for trial in trials), _all(trial.dtype for trial in trials)],
    }
    return run.registry.keep_noise(
        NoiseReport(
            key=noise_key(inputs),
            pipeline=run.pipeline.spec.name,
            set=on,
            rows=trials[0].rows,
            primary=metrics[0],
            seeds=seeds,
            models=tuple(trial.model for trial in trials),
            spreads={name: spread([trial.metrics[name] for trial in trials]) for name in metrics},
            split=digests,
            base=base.digest,
            versions=versions,
            device=_all(trial.device for trial in trials),
            dtype=_all(trial.dtype for trial in trials),
            precision=_all(trial.precision for trial in trials),
            trained_on=_all(trial.trained_on for trial in trials),
            at=now(),
        )
    )


def noise_rows(report: NoiseReport) -> list[tuple[str, ...]]:
    """The report as a table: a row for each metric; columns as NOISE_COLUMNS."""
    return [
        (
            name,
            *(f"{value:.4f}" for value in (found.mean, found.low, found.high)),
            size(name, found.sd),
            f"{size(name, found.sd_low)} … {size(name, found.sd_high)}",
            size(name, found.band),
        )
        for name, found in report.spreads.items()
    ]


def seed_rows(report: NoiseReport) -> list[tuple[str, ...]]:
    """The report as a table: a row for each seed; columns seed, model, and every metric."""
    return [
        (f"{seed}", model[:16], *(f"{found.values[place]:.4f}" for found in report.spreads.values()))
        for place, (seed, model) in enumerate(zip(report.seeds, report.models, strict=True))
    ]


NOISE_COLUMNS = ("metric", "mean", "lowest", "highest", "sd", "sd, 95% bounds", "2·√2·sd")


def noise_done(run: Run, snapshot: Snapshot, report: NoiseReport) -> NoiseResult:
    return _result(run, "done", report.sentence, snapshot=snapshot.digest, noise=report)


def noise_refused(run: Run, snapshot: Snapshot, quality: Staged[QualityReport]) -> NoiseResult:
    """Bad data stops before anything is trained; no decision is recorded, since nothing was to be decided."""
    from contender.conclusion import quality_places

    return _result(run, "rejected_data", quality.record.message, snapshot=snapshot.digest, **quality_places(quality))


def noise_ended_by(run: Run, error: ContenderError) -> NoiseResult:
    """What a run had come to when an error ended it."""
    return _result(run, outcome_of(error), error.in_one_line)


def _all(values: Iterable[str]) -> str:
    """What all trials have in common, or each of what they have: a measured precision may differ."""
    return ", ".join(sorted(set(values)))


def _result(run: Run, outcome: Outcome | Literal["done"], message: str, **details: object) -> NoiseResult:
    return NoiseResult.model_validate(
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
