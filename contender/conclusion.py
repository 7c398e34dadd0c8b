"""How a run ends: the alias moved or not, and a decision whatever the outcome. contender/publishing.py writes the report before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from contender.compression import Compression
from contender.contest import Champion, promote_settled
from contender.cost import Cost
from contender.crossvalidation import CrossValidated
from contender.errors import AliasMoved
from contender.monitoring import Observation
from contender.overfitting import fit_of
from contender.plan import judged_set
from contender.progress import Note, tell
from contender.records import (
    AliasEntry,
    Evaluation,
    Outcome,
    QualityReport,
    ReleaseManifest,
    SetEvaluation,
    Snapshot,
    SplitReport,
    TrainReport,
    Verdict,
)
from contender.registry import Guard
from contender.run import Run, RunResult, decide, decision_key, result
from contender.searching import SearchReport
from contender.selecting import SelectionReport
from contender.stages.base import with_base
from contender.stages.estimate import known_estimate
from contender.workspace import Staged


@dataclass(frozen=True)
class Contest:
    """Everything that a verdict was reached on."""

    snapshot: Snapshot
    quality: Staged[QualityReport]
    split: Staged[SplitReport]
    model: Staged[TrainReport]
    challenger: ReleaseManifest
    champion: Champion
    evaluation: Staged[Evaluation]
    verdict: Verdict
    compressed: Staged[Compression] | None = None  # what the challenger was made of the model
    selection: SelectionReport | None = None  # that the model's base was chosen by
    search: SearchReport | None = None  # that the model's options were chosen by
    folds: CrossValidated | None = (
        None  # what the model's options came to on them; of a search, those of its chosen trial
    )
    observation: Observation | None = None  # of the champion, on the rows that were new to it


def promote(run: Run, contest: Contest, guard: Guard | None = None) -> AliasEntry:
    """Adds the alias entry after the one that was judged against. AliasMoved where another run was first.

    `guard`: see Registry.append.
    """
    started = time.monotonic()
    tell(Note("promote", "started"))  # the last point to stop at: from here on the run ends with its decision
    try:
        entry = _promoted(run, contest, guard)
    except AliasMoved as error:
        tell(Note("promote", "warned", error.what), stops=False)
        raise
    text = f"{entry.release} is live as {run.pipeline.spec.promote.alias}, by entry {entry.n}"
    tell(Note("promote", "finished", text, seconds=time.monotonic() - started, key=entry.release), stops=False)
    return entry


def _promoted(run: Run, contest: Contest, guard: Guard | None) -> AliasEntry:
    champion, verdict, alias = contest.champion, contest.verdict, run.pipeline.spec.promote.alias
    if champion.own is not None and champion.own.release == contest.challenger.release:
        run.registry.repair_copy(alias, champion.own)  # the earlier attempt may have ended right before it
        return champion.own
    entry = run.registry.next_entry(
        alias,
        champion.n,
        contest.challenger,
        reason=verdict.sentence,
        actor=run.actor,
        evaluation=contest.evaluation.record.evaluation,
        verdict=verdict.model_dump(mode="json") | {"decision": decision_key(run, contest.snapshot, champion.n)},
    )
    return promote_settled(run, entry, guard)


def conclude(run: Run, contest: Contest, outcome: Outcome, report: Path, entry: AliasEntry | None = None) -> RunResult:
    """Records the decision and returns the run's result."""
    metrics = flat_metrics(run, contest.evaluation.record.challenger_sets)
    decision = decide(
        run,
        outcome,
        contest.verdict.sentence,
        snapshot=contest.snapshot,
        quality=contest.quality.record,
        judged_against=contest.champion.n,
        split=contest.split.record,
        evaluation=contest.evaluation.record,
        verdict=contest.verdict,
        release=contest.challenger.release,
        champion=contest.champion.release,
        alias_entry=entry.n if entry else None,
        metrics=metrics,
    )
    if entry is None and outcome != "superseded":
        stays = f"{contest.champion.release} stays live" if contest.champion.release else "nothing is live yet"
        tell(Note("promote", "finished", stays, finding="open"), stops=False)
    return result(
        run,
        decision.outcome,
        decision.message,
        snapshot=contest.snapshot.digest,
        release=contest.challenger.release,
        champion=contest.champion.release,
        alias_entry=decision.alias_entry,
        metrics=metrics,
        evaluations=nested_metrics(contest.evaluation.record),
        evaluation=contest.evaluation.record.evaluation,
        verdict=contest.verdict,
        training=contest.model.record.figures()
        | fit_of(contest.model.record)
        | cost_of(run, contest).figures()
        | estimate_of(run, contest),
        compression=contest.compressed.record if contest.compressed else None,
        selection=contest.selection,
        search=contest.search,
        cross_validation=contest.folds,
        monitoring=contest.observation,
        report=str(report),
        **quality_places(contest.quality),
        **_conflicts_place(contest.split),
    )


def refuse(
    run: Run, snapshot: Snapshot, champion: Champion, message: str, quality: Staged[QualityReport] | None
) -> RunResult:
    """The run ends because its data cannot be used; the champion stays."""
    report = quality.record if quality else None
    decide(
        run,
        "rejected_data",
        message,
        snapshot=snapshot,
        quality=report,
        judged_against=champion.n,
        champion=champion.release,
    )
    return result(
        run, "rejected_data", message, snapshot=snapshot.digest, champion=champion.release, **quality_places(quality)
    )


def estimate_of(run: Run, contest: Contest) -> dict[str, float]:
    """What was estimated for this training before, and how far off it was; {} where nothing was, or a search chose other options."""
    if contest.search and contest.search.chosen.changes:
        return {}
    base = contest.challenger.lineage.get("base_digest", "")
    if contest.selection:
        run = with_base(run, run.pipeline.spec.model.bases[contest.selection.chosen - 1])
    found = known_estimate(run, contest.snapshot.digest, base)
    return found.error(contest.model.record) if found else {}


def cost_of(run: Run, contest: Contest) -> Cost:
    """Of the challenger: what training and evaluating it took, every base of its selection, every trial of its search, and every fold,
    whether this run did it or found it."""
    smaller = contest.compressed.record.training if contest.compressed else None
    own = contest.model.record.seconds + (contest.folds.seconds if contest.folds else 0.0)
    trained = contest.search.seconds if contest.search else own  # a trial's folds are among its seconds
    trained += contest.selection.seconds if contest.selection else 0.0
    return Cost(
        training_seconds=trained + (smaller.seconds if smaller else 0.0),
        devices=contest.model.record.devices,
        evaluation_seconds=contest.evaluation.seconds,
        price_per_hour=run.pipeline.spec.resources.budget.price_per_hour,
    )


def flat_metrics(run: Run, sets: tuple[SetEvaluation, ...]) -> dict[str, float]:
    """The metrics on the set that is judged on."""
    return next((s.metrics for s in sets if s.set == judged_set(run.pipeline)), {})


def nested_metrics(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """set → challenger or champion → metric → value."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for role, sets in (("challenger", evaluation.challenger_sets), ("champion", evaluation.champion_sets)):
        for one in sets:
            nested.setdefault(one.set, {})[role] = one.metrics
    return nested


def quality_places(quality: Staged[QualityReport] | None) -> dict[str, str]:
    """Where people find what the gate saw: `data_docs`, and `quarantine` where a row is in it."""
    if quality is None:
        return {}
    places = {"data_docs": quality.folder / "data_docs" / "index.html", "quarantine": quality.folder / "quarantine.csv"}
    wanted = {"data_docs"} | ({"quarantine"} if quality.record.quarantined else set())
    return {name: str(path) for name, path in places.items() if name in wanted and path.exists()}


def _conflicts_place(split: Staged[SplitReport]) -> dict[str, str]:
    path = split.folder / "conflicts.csv"
    return {"conflicts": str(path)} if split.record.removed_conflicts and path.exists() else {}
