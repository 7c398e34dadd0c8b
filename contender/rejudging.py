"""Two releases judged again on a held-out set: from what the registry keeps, or on a pipeline's rows of today.

The look that it takes at the set's ledger is the one of a run that compared the same releases on the same rows by the same rules; any
other is a new one, and is paid for.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contender.errors import SpecError, UsageError
from contender.judging.rules import Guards, Rules, VersusChampion, set_name
from contender.records import Evaluation, ReleaseManifest, Verdict
from contender.registry import Registry
from contender.spec import Pipeline


@dataclass(frozen=True)
class Rows:
    """Outcomes of both releases on the same rows, in the same order."""

    held_out: str
    set_digest: str
    challenger: Any
    champion: Any


def rejudge(
    registry: Registry, challenger: ReleaseManifest, champion: ReleaseManifest, rules: Rules, rows: Rows
) -> Verdict:
    """Takes a look from the set's ledger, then compares the two by the comparisons and floors of the rules; moves no alias."""
    from contender.judging.held_out import HeldOut
    from contender.judging.judge import judge
    from contender.stages.judge import known_labels, take_look, train_keys

    rules = rules.all_on(rows.held_out)
    trained_on = [train_keys(registry, release) for release in (challenger, champion)]
    taken = take_look(
        registry,
        rules,
        rows.held_out,
        rows.set_digest,
        challenger.release,
        champion.release,
        rows.challenger.column("key").to_numpy(),
        trained_on,
    )
    held = HeldOut(rows.challenger, rows.champion, look=taken.look, keys=taken.keys)
    return judge(
        rules,
        {rows.held_out: held},
        judged_against=0,
        champion_release=champion.release,
        release=challenger.release,
        trained_on=trained_on,
        champion_labels=known_labels(champion),
    )


def measured(rows: Rows, verdict: Verdict) -> dict[str, dict[str, dict[str, float]]]:
    """The metrics that a verdict is about, of both on all rows: set → challenger or champion → metric → value."""
    from contender.evaluation.metrics import compute

    metrics = sorted({rule.metric for rule in verdict.rules})
    answers = {"challenger": rows.challenger, "champion": rows.champion}
    return {rows.held_out: {role: compute(outcomes, metrics) for role, outcomes in answers.items()}}


def rules_of_release(release: ReleaseManifest) -> Rules:
    """The rules of the spec that made a release; UsageError where its lineage holds none."""
    spec = release.lineage.get("spec") or {}
    try:
        promote, metrics = spec["promote"], spec["evaluate"]["metrics"]
        return Rules(
            primary=metrics[0],
            floors=promote["floors"],
            versus=VersusChampion.model_validate(promote["versus_champion"]),
            guards=Guards(),
        )
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise UsageError(
            f"the lineage of {release.release} does not say by which rules it was judged",
            "Name the pipeline whose rules and rows are meant: --pipeline FILE",
        ) from error


def stored_rows(registry: Registry, challenger: str, champion: str, on: str) -> Rows:
    """The newest outcomes of both on the same rows of a set that the registry's evaluations hold; UsageError where there are none."""
    held_out = set_name(on)
    ours = list(_answers(registry, challenger, held_out))
    theirs = {
        digest: (evaluation, role)
        for digest, evaluation, role in reversed(list(_answers(registry, champion, held_out)))
    }
    for digest, evaluation, role in ours:
        if digest in theirs:
            return Rows(
                held_out,
                digest,
                kept_outcomes(registry, held_out, evaluation, role),
                kept_outcomes(registry, held_out, *theirs[digest]),
            )
    known = sorted({held.set for _, evaluation, _ in _all(registry, challenger) for held in evaluation.challenger_sets})
    raise UsageError(
        f"the registry holds no outcomes of {challenger} and {champion} on the same rows of {held_out}"
        f" (sets of {challenger}: {', '.join(known) or 'none'})",
        "Name the pipeline whose rows of today they are to be tried on: --pipeline FILE",
    )


def rows_of_today(
    pipeline: Pipeline, registry: Registry, challenger: ReleaseManifest, champion: ReleaseManifest, on: str
) -> Rows:
    """Both releases on the pipeline's current rows of a set, computed where the workspace does not hold the outcomes yet."""
    from contender.contest import held_out, outcomes_of
    from contender.run import open_run
    from contender.stages.data import check_quality, look, split_rows, take_snapshot

    name = set_name(on)
    run = open_run(pipeline, actor="")
    if run.registry.url != registry.url:
        raise UsageError(
            f"the pipeline's registry is {run.registry.url}, that of the releases {registry.url}",
            "Rows are told apart by the pipeline that dealt them: judge releases of the pipeline itself.",
        )
    live = run.registry.champion(pipeline.spec.promote.alias)
    snapshot = take_snapshot(run, look(run))
    quality = check_quality(run, snapshot, run.registry.named_by(live) if live else None)
    split = split_rows(run, snapshot, quality)
    if name not in held_out(split.record):
        raise SpecError(f"{on} is no held-out set", f"Name one of: {', '.join(held_out(split.record))}")
    answers = [outcomes_of(run, release, split, name) for release in (challenger, champion)]
    return Rows(name, split.record.digests[name], *answers)


def _answers(registry: Registry, release: str, held_out: str) -> Iterator[tuple[str, Evaluation, str]]:
    """(set digest, evaluation, role) of everything that the release answered on a set, the newest first."""
    for _, evaluation, role in _all(registry, release):
        sets = evaluation.challenger_sets if role == "challenger" else evaluation.champion_sets
        yield from ((held.set_digest, evaluation, role) for held in sets if held.set == held_out)


def _all(registry: Registry, release: str) -> list[tuple[str, Evaluation, str]]:
    """(created, evaluation, role) of every evaluation that the release took part in, the newest first."""
    found = []
    for other in registry.releases():
        for name in registry.evaluations(other.release):
            evaluation = registry.evaluation(other.release, name)
            role = {evaluation.release: "challenger", evaluation.champion: "champion"}.get(release)
            if role:
                found.append((other.created, evaluation, role))
    return sorted(found, key=lambda item: item[0], reverse=True)


def kept_outcomes(registry: Registry, held_out: str, evaluation: Evaluation, role: str) -> Any:
    """A pyarrow table of one model's outcomes on one set, as an evaluation keeps them."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    stored = registry.evaluation_file(evaluation.release, evaluation.evaluation, "outcomes.parquet")
    table = pq.read_table(io.BytesIO(stored))
    mine = pc.and_(pc.equal(table.column("set"), held_out), pc.equal(table.column("model"), role))
    return table.filter(mine).drop_columns(["set", "model"])
