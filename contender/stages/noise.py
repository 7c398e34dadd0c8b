"""The same training with other seeds: each one's model tried on the set that the pipeline is judged on, and the record of it all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from contender.errors import DataError
from contender.noise import NoiseReport, Trial, noise_key, size, spread
from contender.plan import REVISIONS, judged_set, parts
from contender.records import Snapshot, SplitReport
from contender.registry.layout import now
from contender.run import Run
from contender.stages.measuring import Measured, measured, with_seeds
from contender.stages.model import training_versions
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase


class NoiseResult(Measured):
    """What measuring the noise came to; the contract of `contender noise --json`."""

    noise: NoiseReport | None = None


def with_other_seeds(run: Run, runs: int, split: Staged[SplitReport]) -> list[Run]:
    """The run once for each seed; DataError where nothing is held out to try the models on."""
    on = judged_set(run.pipeline)
    if not split.record.rows.get(on):
        raise DataError(f"no row is in {on}, on which the models would be tried", "Bring more data, or hold more out.")
    return with_seeds(run, runs)


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
    return measured(NoiseResult, run, "done", report.sentence, snapshot=snapshot.digest, noise=report)


def _all(values: Iterable[str]) -> str:
    """What all trials have in common, or each of what they have: a measured precision may differ."""
    return ", ".join(sorted(set(values)))
