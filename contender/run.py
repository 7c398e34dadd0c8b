"""One run of a pipeline: where its stages find each other, and what it leaves.

open_run → stages (contender/stages/) → conclude → RunResult, the document that `contender run --json` prints
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.compression import Compression
from contender.crossvalidation import CrossValidated
from contender.errors import AliasMoved, BudgetSpent, ContenderError, DataError, Interrupted, OutcomeUnknown
from contender.machine import cache_folder
from contender.monitoring import Observation
from contender.plan import decision_prefix
from contender.records import (
    Decision,
    Evaluation,
    Outcome,
    QualityReport,
    Record,
    Snapshot,
    SplitReport,
    Verdict,
    digest,
)
from contender.registry import Registry
from contender.registry.signing import private_key
from contender.searching import SearchReport
from contender.secretref import resolve
from contender.selecting import SelectionReport
from contender.spec import Pipeline, Spec
from contender.spending import Spent
from contender.store import open_store
from contender.store.guarded import single_writer
from contender.text import visible
from contender.workspace import Workspace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXIT_CODES: dict[str, int] = {
    "promoted": 0,
    "up_to_date": 0,
    "skipped": 0,
    "kept": 3,
    "inconclusive": 3,
    "superseded": 3,
    "rejected_data": 4,
    "budget": 5,
    "invalid": 2,
    "failed": 1,
    "unknown": 1,
    "interrupted": 130,
}


def outcome_of(error: ContenderError) -> Outcome:
    """The outcome of a run that ended with this error."""
    kinds: tuple[tuple[type[ContenderError], Outcome], ...] = (
        (Interrupted, "interrupted"),
        (BudgetSpent, "budget"),
        (OutcomeUnknown, "unknown"),
        (AliasMoved, "superseded"),
        (DataError, "rejected_data"),
    )
    for kind, outcome in kinds:
        if isinstance(error, kind):
            return outcome
    return "invalid" if error.exit_code == 2 else "failed"


class StageTime(Record):
    """One stage of a run, as its JSON lists it."""

    name: str
    key: str
    cached: bool
    seconds: float


class RunResult(Record):
    """What a run came to; the contract of `contender run --json`."""

    pipeline: str
    outcome: Outcome
    message: str
    snapshot: str | None = None
    release: str | None = None
    champion: str | None = None
    alias_entry: int | None = None
    metrics: dict[str, float] = {}
    evaluations: dict[str, dict[str, dict[str, float]]] = {}
    evaluation: str | None = None
    verdict: Verdict | None = None
    training: dict[str, Any] | None = None
    compression: Compression | None = None
    selection: SelectionReport | None = None
    search: SearchReport | None = None
    cross_validation: CrossValidated | None = None
    monitoring: Observation | None = None
    seconds: float
    stages: tuple[StageTime, ...] = ()
    flow_run_id: str | None = None
    report: str | None = None
    quarantine: str | None = None
    conflicts: str | None = None
    data_docs: str | None = None
    registry: str | None = None

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


@dataclass(frozen=True)
class Run:
    """What every stage of one run shares."""

    pipeline: Pipeline
    workspace: Workspace
    registry: Registry
    actor: str
    flow_run_id: str | None = None
    settle: float = 0.0  # seconds; files that changed less than this ago are left to a later run
    hold_device: Callable[[], AbstractContextManager[dict[str, str]]] = lambda: nullcontext({})
    started: float = field(default_factory=time.monotonic)
    stages: list[StageTime] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    side_by_side: int = 1  # trainings that what is left of the budget is for at the same time

    def with_spec(self, spec: Spec) -> Run:
        """The same run of another spec."""
        return replace(self, pipeline=self.pipeline.model_copy(update={"spec": spec}))

    @property
    def peeked_cache(self) -> Path:
        """Remembers the digests of files that did not change since."""
        return self.workspace.root / "files.json"


def open_run(pipeline: Pipeline, actor: str, flow_run_id: str | None = None) -> Run:
    """`actor`: in the words of whoever started the run, of which the registry keeps what shows."""
    signing_key(pipeline)  # a key that is missing is said before hours of training, not after
    return Run(pipeline, open_workspace(pipeline), open_registry(pipeline), visible(actor), flow_run_id)


def open_workspace(pipeline: Pipeline) -> Workspace:
    """The spec's folder; for an s3:// prefix, a folder of this machine's cache and what is shared under the prefix."""
    place = pipeline.path(pipeline.spec.workspace)
    if "://" not in place:
        return Workspace(Path(place))
    place = place.rstrip("/")
    shared = open_store(place, pipeline.spec.profile(place))
    return Workspace(cache_folder() / "workspaces" / digest(place)[:16], shared)


def open_registry(pipeline: Pipeline, profile: str | None = None) -> Registry:
    """The spec's registry; `profile` goes before the one that the spec names for it."""
    url = pipeline.path(pipeline.spec.promote.to)
    store = open_store(url, profile or pipeline.spec.profile(url))
    return Registry(single_writer(store) if pipeline.spec.promote.single_writer else store, pipeline.spec.name)


def signing_key(pipeline: Pipeline) -> Ed25519PrivateKey | None:
    """The key that signs this pipeline's releases; UsageError where the spec names one that is not there."""
    reference = pipeline.spec.promote.signing_key
    if reference is None:
        return None
    return private_key(resolve(reference, Path(pipeline.folder), "promote.signing_key"))


def find_decision(run: Run, snapshot: Snapshot) -> Decision | None:
    """The newest decision of this spec on this snapshot; it makes the run up to date, whatever is live now.

    A superseded verdict is none: the champion that it judged against was not live any more.
    """
    decisions = run.registry.decisions(decision_prefix(run.pipeline, snapshot.digest))
    standing = [decision for decision in decisions if decision.outcome != "superseded"]
    return max(standing, key=lambda decision: decision.judged_against, default=None)


def decision_key(run: Run, snapshot: Snapshot, judged_against: int) -> str:
    return f"{decision_prefix(run.pipeline, snapshot.digest)}{judged_against:08d}"


def report_file(run: Run, decision: str) -> Path:
    """Where this workspace keeps the report that a decision, by its key, was made with."""
    return run.workspace.root / "reports" / f"{decision}.html"


def up_to_date(run: Run, snapshot: Snapshot, decision: Decision) -> RunResult:
    message = (
        f"This data was decided on {decision.at[:16].replace('T', ' ')} UTC ({decision.outcome}): {decision.message}"
    )
    report = report_file(run, decision.key)
    return result(
        run,
        "up_to_date",
        message,
        snapshot=snapshot.digest,
        release=decision.release,
        champion=decision.champion,
        alias_entry=decision.alias_entry,
        metrics=decision.metrics,
        evaluation=decision.evaluation,
        report=str(report) if report.exists() else None,
    )


def skipped(run: Run, why: str) -> RunResult:
    """The run leaves its data to the one that is at work; no decision is recorded."""
    return result(run, "skipped", why)


def ended_by(run: Run, error: ContenderError) -> RunResult:
    """What a run had come to when an error ended it."""
    return result(run, outcome_of(error), error.in_one_line)


def result_of(pipeline: Pipeline, error: ContenderError, flow_run_id: str | None = None) -> RunResult:
    """What a run came to that an error ended, also where it could not even begin."""
    ended: RunResult | None = error.ended
    return ended or RunResult(
        pipeline=pipeline.spec.name,
        outcome=outcome_of(error),
        message=error.in_one_line,
        seconds=0.0,
        flow_run_id=flow_run_id,
    )


def result(run: Run, outcome: Outcome, message: str, **details: Any) -> RunResult:
    return RunResult(
        pipeline=run.pipeline.spec.name,
        outcome=outcome,
        message=message,
        seconds=round(time.monotonic() - run.started, 3),
        stages=tuple(run.stages),
        flow_run_id=run.flow_run_id,
        registry=run.registry.url,
        **details,
    )


def decide(
    run: Run,
    outcome: Outcome,
    message: str,
    *,
    snapshot: Snapshot,
    quality: QualityReport | None = None,
    judged_against: int,
    split: SplitReport | None = None,
    evaluation: Evaluation | None = None,
    verdict: Verdict | None = None,
    release: str | None = None,
    champion: str | None = None,
    alias_entry: int | None = None,
    metrics: dict[str, float] | None = None,
) -> Decision:
    """Writes the record that this finished run leaves; the files that it was made on first."""
    from contender.datafiles import data_files

    run.registry.snapshots.keep(snapshot.digest, data_files(snapshot))
    return run.registry.decide(
        Decision(
            key=decision_key(run, snapshot, judged_against),
            pipeline=run.pipeline.spec.name,
            alias=run.pipeline.spec.promote.alias,
            outcome=outcome,
            message=message,
            spec_digest=run.pipeline.digest,
            snapshot=snapshot.digest,
            rows=snapshot.source.rows,
            judged_against=judged_against,
            release=release,
            champion=champion,
            evaluation=evaluation.evaluation if evaluation else None,
            alias_entry=alias_entry,
            metrics=metrics or {},
            verdict=verdict,
            quality=quality,
            split=split,
            seconds=round(time.monotonic() - run.started, 3),
            actor=run.actor,
            at=now(),
        )
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")  # runs a second apart keep their order
