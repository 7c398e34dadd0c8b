"""The judge's stage: a look from the ledger of each set that is compared on, then the verdict from stored outcomes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.contest import Champion, beside, held_out, outcomes_of
from contender.names import labelled
from contender.plan import REVISIONS, judged_set, rating, stage_key
from contender.progress import Finding, Note, tell
from contender.records import ReleaseManifest, RuleResult, SplitReport, Verdict, digest
from contender.registry import TRAIN_KEYS, Registry
from contender.run import Run
from contender.spec import Pipeline
from contender.stages.latency import measure_latency, read_timings
from contender.stages.telling import finish
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.compression import Compression
    from contender.data.trainkeys import TrainKeys
    from contender.judging.guards import Measure
    from contender.judging.held_out import HeldOut
    from contender.judging.rules import Rules
    from contender.registry.ledger import Taken


def judge_challenger(
    run: Run,
    challenger: ReleaseManifest,
    champion: Champion,
    split: Staged[SplitReport],
    compressed: Staged[Compression] | None = None,
) -> Verdict:
    """Takes a look from each set's ledger, then compares outcomes. With no champion the floors decide alone.

    A release that a rollback left is kept back without a look: a person found in use what no held-out set shows.
    """
    withdrawn = champion.entry is not None and challenger.release in champion.entry.withdrawn
    measures = {} if withdrawn else _measures(run, challenger, champion, split)  # before a look is spent
    tell(Note("judge", "started"))
    started = time.monotonic()
    others = _beside_original(run, compressed) if compressed else []
    verdict = (
        _withdrawn(challenger, champion) if withdrawn else _judged(run, challenger, champion, split, measures, others)
    )
    key = stage_key(
        run.pipeline,
        "judge",
        challenger=challenger.digest,
        against=champion.n,
        rows={name: split.record.digests[name] for name in held_out(split.record)},
    )
    finding: Finding = "good" if verdict.verdict == "PROMOTE" else "open"
    finish(run, "judge", key, _in_short(verdict), False, time.monotonic() - started, finding)
    return verdict


def _in_short(verdict: Verdict) -> str:
    """PROMOTE: 3 of 4 rules passed, 1 undecided. The verdict's sentence says it in full, where the run's result is told."""
    counts = Counter(rule.outcome for rule in verdict.rules if rule.outcome != "reported")
    if not counts:
        return verdict.verdict
    others = "".join(f", {counts[name]} {name}" for name in ("failed", "undecided") if counts[name])
    total = counts.total()
    return f"{verdict.verdict}: {counts['passed']} of {total} rule{'' if total == 1 else 's'} passed{others}"


def rules_of(pipeline: Pipeline) -> Rules:
    """What the spec asks of a challenger."""
    from contender.judging.rules import Rules

    promote = pipeline.spec.promote
    return Rules(
        primary=pipeline.spec.evaluate.metrics[0],
        on=judged_set(pipeline),
        floors=promote.floors,
        versus=promote.versus_champion,
        guards=promote.guards,
        rated=digest(rated) if (rated := rating(pipeline)) else None,
    )


def compared_rule(rules: Rules) -> str:
    """Digest of what a look tests. Floors and guards are no part of it: they only keep back, and cost no look when edited."""
    versus = rules.versus.model_dump(exclude={"detectable_gain"})
    tested = {"revision": REVISIONS["judge"], "on": rules.on, "primary": rules.primary, "versus": versus}
    return digest(tested | ({"rated": rules.rated} if rules.rated else {}))


def take_look(
    registry: Registry,
    rules: Rules,
    held_out: str,
    set_digest: str,
    challenger: str,
    champion: str,
    keys: Any,
    trained_on: Sequence[Any],
) -> Taken:
    """What the ledger lets this comparison of two releases spend on a set; written before outcomes are compared.

    keys: split key of every row of the set, uint64. trained_on: what either trained on, see `judge`.
    """
    from contender.judging.fairness import untrained
    from contender.judging.judge import enough
    from contender.registry.ledger import Comparison

    return registry.look(
        held_out,
        Comparison(challenger, champion, set_digest, compared_rule(rules)),
        keys[untrained(keys, trained_on)],
        rules.versus.confidence,
        lambda units: enough(rules, held_out, units),
    )


def known_labels(champion: ReleaseManifest | None) -> tuple[str, ...] | None:
    """The labels that a release can answer with; None where there is no release, or its answers are no single labels."""
    return champion.label_names if champion and labelled(champion.kind) else None


def stored_keys(registry: Registry, release: ReleaseManifest) -> TrainKeys | None:
    """What a release and its ancestors trained on; None where nobody wrote it down."""
    from contender.data.trainkeys import parse_keys

    stored = beside(registry, release, TRAIN_KEYS)
    return parse_keys(stored) if stored is not None else None


def train_keys(registry: Registry, release: ReleaseManifest, rows: Iterable[Path] = ()) -> Any:
    """Sorted uint64 hashes of the split keys that a release trained on; None where nobody wrote them down.

    With the row files of a split also the keys of those rows that its ancestors trained on. Without, only of those that were held
    out when the release was made.
    """
    from contender.data.trainkeys import joined, known_rows
    from contender.names import TASKS

    stored = stored_keys(registry, release)
    if stored is None or not stored.inherited or release.kind not in TASKS:
        return stored.own if stored else None
    return joined([stored.own, known_rows(rows, stored.inherited, TASKS[release.kind])])


def _judged(
    run: Run,
    challenger: ReleaseManifest,
    champion: Champion,
    split: Staged[SplitReport],
    measures: dict[str, Measure],
    others: list[RuleResult],
) -> Verdict:
    from contender.judging.judge import judge

    rows = [split.folder / f"{name}.arrow" for name in held_out(split.record)]
    trained_on = [train_keys(run.registry, manifest, rows) for manifest in (challenger, champion.manifest) if manifest]
    return judge(
        rules_of(run.pipeline),
        dict(_sets(run, challenger, champion, split, trained_on)),
        judged_against=champion.n,
        champion_release=champion.release,
        release=challenger.release,
        champion_labels=known_labels(champion.manifest),
        trained_on=trained_on,
        measures=measures,
        others=others,
    )


def _beside_original(run: Run, compressed: Staged[Compression]) -> list[RuleResult]:
    """What the compressed model shows beside the one that it was made from."""
    from contender.compressspec import MARGIN
    from contender.judging.compressed import judge_compression
    from contender.stages.compress import outcomes_beside

    versus = run.pipeline.spec.promote.versus_champion
    margins = [leaf.margin for leaf, _ in versus.leaves() if leaf.margin is not None]
    after, before = outcomes_beside(compressed)
    margin = min(margins, default=MARGIN)
    return list(judge_compression(compressed.record, after, before, margin, 1 - versus.confidence))


def _sets(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport], trained_on: list[Any]
) -> Iterator[tuple[str, HeldOut]]:
    """Every held-out set; those that are compared on with their look."""
    from contender.evaluation.evaluate import read_columns
    from contender.judging.held_out import HeldOut

    rules, slices = rules_of(run.pipeline), run.pipeline.spec.evaluate.slices
    for name in held_out(split.record):
        ours = outcomes_of(run, challenger, split, name)
        taken = None
        if name in rules.compared_on() and champion.manifest and champion.manifest.digest != challenger.digest:
            taken = take_look(
                run.registry,
                rules,
                name,
                split.record.digests[name],
                challenger.release,
                champion.manifest.release,
                ours.column("key").to_numpy(),
                trained_on,
            )
        guarded = rules.guards.slices.max_drop is not None and name == rules.on
        yield (
            name,
            HeldOut(
                challenger=ours,
                champion=outcomes_of(run, champion.manifest, split, name) if champion.manifest else None,
                slices=read_columns(split.folder / f"{name}.arrow", slices) if guarded else None,
                look=taken.look if taken else None,
                keys=taken.keys if taken else None,
            ),
        )


def _measures(
    run: Run, challenger: ReleaseManifest, champion: Champion, split: Staged[SplitReport]
) -> dict[str, Measure]:
    """What guards ask for beside outcomes; latencies are measured only where one does."""
    from contender.judging.guards import Measure, latency_measures

    found = {"model_size_mb": Measure(sum(file.size for file in challenger.files) / 1e6)}
    rules = rules_of(run.pipeline)
    if rules.guards.timed(champion.manifest is not None):
        timings = measure_latency(run, challenger, champion.manifest, split, rules.on)
        found |= latency_measures(read_timings(timings.folder), rules)
    return found


def _withdrawn(challenger: ReleaseManifest, champion: Champion) -> Verdict:
    return Verdict(
        verdict="KEEP",
        sentence=f"{challenger.release} was live before, and a rollback took it back: only contender promote brings it back.",
        rules=(),
        judged_against=champion.n,
        champion=champion.release,
    )
