"""The report of a verdict: what it shows besides the verdict, and where it is kept.

Nothing here decides anything: what cannot be read, timed or explained is told, left out, and stops no promotion.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.attribution import Attributions
from contender.conclusion import Contest, cost_of
from contender.contest import outcomes_of
from contender.datafiles import files_of_release
from contender.errors import ContenderError, Damaged, DataError, ModelError
from contender.files import write_durably
from contender.monitoring import Observation
from contender.plan import judged_set
from contender.progress import Note, tell
from contender.run import Run, decision_key, now, report_file
from contender.stages.judge import rules_of
from contender.text import shorten
from contender.workspace import translated_os_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.noise import NoiseReport
    from contender.reporting.comparison import MetricRow
    from contender.reporting.data import History, ReportInput

HISTORY_SHOWN = 50  # of the newest decisions and alias entries


@dataclass(frozen=True)
class Published:
    """A report's place in the workspace, and both models on the set that decides, as it shows them."""

    report: Path
    judged: list[MetricRow]


def publish(run: Run, contest: Contest) -> Published:
    """Writes the report and keeps the evaluation in the registry."""
    from contender.reporting.card import render_card
    from contender.reporting.report import render_report

    data = _report_input(run, contest)
    started = time.monotonic()
    tell(Note("report", "started"))
    html = render_report(data)
    with run.workspace.scratch(f"publish-{run.pipeline.spec.name}") as folder:
        (folder / "report.html").write_text(html, encoding="utf-8")
        (folder / "README.md").write_text(render_card(data), encoding="utf-8")
        (folder / "outcomes.parquet").hardlink_to(contest.evaluation.folder / "outcomes.parquet")
        run.registry.save_evaluation(contest.evaluation.record, folder)
    # The registry's evaluation never changes; where an edited rule judges it again, this report alone holds the new verdict.
    report = report_file(run, decision_key(run, contest.snapshot, contest.champion.n))
    with translated_os_errors(run.workspace.root):
        report.parent.mkdir(parents=True, exist_ok=True)
        write_durably(report, html.encode())
    text = f"{len(html) / 1e3:,.0f} kB, kept with the evaluation"
    tell(Note("report", "finished", text, seconds=time.monotonic() - started))
    return Published(report, data.metric_rows)


def comparisons(run: Run, contest: Contest, published: Published) -> list[tuple[str, int, list[MetricRow]]]:
    """Each held-out set, its rows, and both models metric by metric; the set that decides first."""
    from contender.reporting.comparison import Pair, compared

    evaluation, champion, on = contest.evaluation.record, contest.champion.manifest, judged_set(run.pipeline)
    theirs = {held.set: held for held in evaluation.champion_sets}
    judged = {row.name: row for row in published.judged}
    found = []
    for ours in sorted(evaluation.challenger_sets, key=lambda held: held.set != on):
        if ours.set == on:
            found.append((on, ours.rows, [judged[name] for name in ours.metrics]))
            continue
        outcomes = outcomes_of(run, contest.challenger, contest.split, ours.set)
        other = outcomes_of(run, champion, contest.split, ours.set) if champion else None
        pair = Pair(ours, theirs.get(ours.set), outcomes, other)
        found.append((ours.set, ours.rows, compared(pair, contest.verdict, list(ours.metrics))))
    return found


def _report_input(run: Run, contest: Contest) -> ReportInput:
    from contender.reporting.data import ReportInput

    on = judged_set(run.pipeline)
    champion = contest.champion.manifest
    outcomes = outcomes_of(run, contest.challenger, contest.split, on)
    champion_outcomes = outcomes_of(run, champion, contest.split, on) if champion else None
    return ReportInput(
        pipeline=run.pipeline.spec.name,
        alias=run.pipeline.spec.promote.alias,
        at=now(),
        on=on,
        verdict=contest.verdict,
        evaluation=contest.evaluation.record,
        release=contest.challenger,
        champion=champion,
        champion_files=files_of_release(run.registry, champion.release) if champion else None,
        snapshot=contest.snapshot,
        quality=contest.quality.record,
        split=contest.split.record,
        training=contest.model.record,
        compression=contest.compressed.record if contest.compressed else None,
        selection=contest.selection,
        search=contest.search,
        folds=contest.folds,
        outcomes=outcomes,
        champion_outcomes=champion_outcomes,
        rows=contest.split.folder / f"{on}.arrow",
        examples=run.pipeline.spec.report.examples,
        noise=_noise(run) if champion else None,
        monitoring=_monitoring(run),
        history=_history(run, contest),
        cost=cost_of(run, contest),
        explained=_explained(run, contest, on, outcomes, champion_outcomes),
        **_latency(run, contest, on),
    )


def _noise(run: Run) -> NoiseReport | None:
    """What seeds alone move, to draw beside a difference. It decides nothing: a damaged record is told, and stops no promotion."""
    newest, faults = run.registry.newest_noise()
    for fault in faults:
        tell(Note("report", "warned", f"{fault}; its noise is not drawn"))
    return newest


def _monitoring(run: Run) -> tuple[Observation, ...]:
    """The series of champions on rows that were new to them. It decides nothing either."""
    series, faults = run.registry.monitoring.readable()
    for fault in faults:
        tell(Note("report", "warned", f"{fault}; the monitoring is drawn without it"))
    return tuple(series)


def _history(run: Run, contest: Contest) -> History:
    """What was decided and live before this verdict, also where an earlier attempt at it went further. It decides nothing either."""
    from contender.reporting.data import History

    recent, alias = run.registry.recent, run.pipeline.spec.promote.alias
    decisions, faults = recent.decisions(HISTORY_SHOWN)
    entries, more = recent.entries(alias, HISTORY_SHOWN)
    for fault in [*faults, *more]:
        tell(Note("report", "warned", f"{fault}; the history is drawn without it"))
    own = decision_key(run, contest.snapshot, contest.champion.n)
    return History(
        tuple(decision for decision in decisions if decision.key != own),
        tuple(entry for entry in entries if entry.n <= contest.champion.n),
    )


def _latency(run: Run, contest: Contest, on: str) -> dict[str, Any]:
    """How long both models' answers take: what a guard measured, else a glance of some seconds."""
    from contender.stages.latency import measure_latency, read_timings

    champion = contest.champion.manifest
    guarded = rules_of(run.pipeline).guards.timed(champion is not None)
    try:
        timed = measure_latency(run, contest.challenger, champion, contest.split, on, glance=not guarded)
    except (DataError, ModelError, Damaged, RuntimeError, MemoryError) as error:
        # Two models at once may be too much for a device that each of them fits: torch raises a RuntimeError then.
        why = error.in_one_line if isinstance(error, ContenderError) else str(error) or type(error).__name__
        tell(Note("report", "warned", f"{shorten(why, 300)}; the report has no latency"))
        return {}
    return {"latency": timed.record, "timings": read_timings(timed.folder)}


def _explained(
    run: Run, contest: Contest, on: str, outcomes: pa.Table, champion_outcomes: pa.Table | None
) -> Attributions:
    """Why the models gave the answers that are shown. It decides nothing: a model that cannot be explained stops no promotion."""
    from contender.evaluation.outcomes import paired
    from contender.reporting.findings import worth_explaining
    from contender.stages.explain import explain

    if run.pipeline.spec.report.examples == "none" or not run.pipeline.spec.facts.explains:
        return Attributions()
    answers, champion_answers = worth_explaining(paired(outcomes, champion_outcomes))
    if not answers:
        return Attributions()
    champion = contest.champion.manifest
    theirs = (champion, champion_answers) if champion and champion_answers else None
    try:
        return explain(run, (contest.challenger, answers), theirs, contest.split, on)
    except ModelError as error:
        tell(Note("explain", "warned", f"{error.in_one_line} The report shows the errors without it."))
        return Attributions()
