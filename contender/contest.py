"""The challenger against the champion: what is live, and both evaluated on the same held-out rows. contender/stages/judge.py judges."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contender.errors import AliasMoved, Missing
from contender.evaluation.scope import with_scope
from contender.plan import rating, stage_key
from contender.progress import Note, tell
from contender.records import (
    AliasEntry,
    Evaluation,
    ReleaseManifest,
    SetEvaluation,
    Snapshot,
    SplitReport,
    digest,
)
from contender.registry import Guard, Registry
from contender.run import Run, decision_key
from contender.stages.lineage import is_quantised
from contender.stages.model import predict, serving
from contender.stages.telling import staged
from contender.workspace import Staged


@dataclass(frozen=True)
class Champion:
    """What is live, as a run sees it: its alias entry and manifest, both None where nothing was ever promoted.

    `own` is set where the newest entry was written by an earlier attempt at this very decision, which ended before it could
    record it: then the champion is the one before, and the promotion has happened.
    """

    entry: AliasEntry | None
    manifest: ReleaseManifest | None
    own: AliasEntry | None = None

    @property
    def n(self) -> int:
        """The number of the alias entry that a verdict judges against; 0: none."""
        return self.entry.n if self.entry else 0

    @property
    def release(self) -> str | None:
        return self.entry.release if self.entry else None


def find_champion(run: Run, seen: Snapshot, guard: Guard | None = None) -> Champion:
    """What is live, once a promotion whose answer an earlier run did not get is settled.

    Raises UnsafeStore where nothing could be promoted there: a training would be for nothing. `guard`: see Registry.append.
    """
    run.registry.require_safe(guarded=run.pipeline.spec.promote.single_writer)
    alias = run.pipeline.spec.promote.alias
    _settle(run, guard)
    entry, own = run.registry.champion(alias), None
    if entry and entry.decision == decision_key(run, seen, entry.n - 1):
        own, entry = entry, run.registry.entry(alias, entry.n - 1) if entry.n > 1 else None
    return Champion(entry, run.registry.named_by(entry) if entry else None, own)


def find_live(run: Run) -> Champion:
    """What is live, for whoever promotes nothing: only read."""
    entry = run.registry.champion(run.pipeline.spec.promote.alias)
    return Champion(entry, run.registry.named_by(entry) if entry else None)


def promote_settled(run: Run, entry: AliasEntry, guard: Guard | None = None) -> AliasEntry:
    """Adds the entry to the alias's log. Where its answer is lost, the next run repeats it before it looks for the champion."""
    key = _pending(run)
    run.workspace.records.put(key, entry.to_bytes())
    try:
        promoted = run.registry.append(run.pipeline.spec.promote.alias, entry, guard)
    except AliasMoved:
        run.workspace.records.delete(key)
        raise
    run.workspace.records.delete(key)
    return promoted


def _settle(run: Run, guard: Guard | None) -> None:
    """A number once tried is not given up: its write may still land. It is repeated until it, or another's, is there."""
    try:
        pending = AliasEntry.from_bytes(run.workspace.records.get(_pending(run)))
    except (Missing, ValidationError):
        return
    newest = run.registry.champion(run.pipeline.spec.promote.alias)
    if newest and newest.n >= pending.n:
        run.workspace.records.delete(_pending(run))
        return
    tell(Note("champion", "warned", f"settling the promotion of {pending.release}, whose answer was lost"))
    with suppress(AliasMoved):
        promote_settled(run, pending, guard)


def _pending(run: Run) -> str:
    return f"promotions/{run.pipeline.spec.name}-{digest(run.registry.url)[:16]}-{run.pipeline.spec.promote.alias}.json"


def evaluate_both(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]
) -> Staged[Evaluation]:
    """Metrics of both models on every held-out set, from the staged bytes; `outcomes.parquet` holds them row by row."""
    from contender.evaluation.evaluate import evaluation_id, metric_revisions

    spec = run.pipeline.spec
    device, dtype = serving(is_quantised(challenger))
    sets = {name: split.record.digests[name] for name in held_out(split.record)}
    identity: dict[str, Any] = {
        "release": challenger.digest,
        "champion": champion.manifest.digest if champion.manifest else None,
        "sets": sets,
        "revisions": metric_revisions(spec.evaluate.metrics),
        "device": device,
        "dtype": dtype,
        **({"out_of_scope": label} if (label := spec.evaluate.out_of_scope) else {}),
    }

    def compute(folder: Path) -> Evaluation:
        _write_outcomes(_both(run, challenger, champion, split), folder / "outcomes.parquet")
        return Evaluation(
            evaluation=evaluation_id(**identity, rated=rating(run.pipeline)),
            release=challenger.release,
            champion=champion.release,
            device=device,
            dtype=dtype,
            challenger_sets=_evaluate(run, challenger, split),
            champion_sets=_evaluate(run, champion.manifest, split) if champion.manifest else (),
        )

    return staged(run, "evaluate", stage_key(run.pipeline, "evaluate", **identity), Evaluation, compute, _evaluated)


def held_out(split: SplitReport) -> list[str]:
    """The sets that models are judged on: test, and the golden ones."""
    return [name for name, rows in split.rows.items() if rows and (name == "test" or name.startswith("golden-"))]


def _both(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]
) -> dict[tuple[str, str], Any]:
    models = {"challenger": challenger} | ({"champion": champion.manifest} if champion.manifest else {})
    return {
        (name, role): outcomes_of(run, manifest, split, name)
        for name in held_out(split.record)
        for role, manifest in models.items()
    }


def outcomes_of(run: Run, release: ReleaseManifest, split: Staged[SplitReport], name: str) -> Any:
    """A release's outcomes on a held-out set, as a pyarrow table: one row each, in the set's order."""
    import pyarrow.parquet as pq

    found = pq.read_table(predict(run, release, split, name).folder / "outcomes.parquet")
    return with_scope(found, run.pipeline.spec.evaluate.out_of_scope)


def _evaluate(run: Run, release: ReleaseManifest, split: Staged[SplitReport]) -> tuple[SetEvaluation, ...]:
    from contender.evaluation.evaluate import evaluate_set

    evaluate = run.pipeline.spec.evaluate
    return tuple(
        evaluate_set(
            name,
            split.folder / f"{name}.arrow",
            split.record.digests[name],
            outcomes_of(run, release, split, name),
            evaluate.metrics,
            evaluate.slices,
        )
        for name in held_out(split.record)
    )


def _write_outcomes(tables: Mapping[tuple[str, str], Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    named = [
        table.append_column("set", pa.array([name] * len(table), pa.string())).append_column(
            "model", pa.array([role] * len(table), pa.string())
        )
        for (name, role), table in tables.items()
    ]
    pq.write_table(pa.concat_tables(named), path, compression="zstd")


def beside(registry: Registry, release: ReleaseManifest, name: str) -> Any:
    """A parquet file beside the release's model, as a pyarrow table; None where it has none of that name."""
    import io

    import pyarrow.parquet as pq

    stored = registry.beside(release.release, name)
    return pq.read_table(io.BytesIO(stored)) if stored is not None else None


def _evaluated(evaluation: Evaluation) -> str:
    from contender.judging.words import value

    def shown(sets: tuple[SetEvaluation, ...]) -> str:
        return ", ".join(f"{s.set} {value(*next(iter(s.metrics.items())))}" for s in sets)

    against = f"; champion {shown(evaluation.champion_sets)}" if evaluation.champion_sets else ""
    return f"challenger {shown(evaluation.challenger_sets)}{against}"
