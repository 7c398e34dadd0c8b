"""What a run came to: champion against challenger, the verdict with its rules, and where to look next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contender.judging.words import amount, look_sentence, value
from contender.links import Link
from contender.reporting.wording import asked, duration, rule_name
from contender.run import RunResult
from contender.showing.markdown import (
    bold,
    counted,
    heading,
    linked,
    listed,
    page,
    safe,
    section,
    table,
)
from contender.verdict import RuleResult, Verdict

if TYPE_CHECKING:
    from contender.reporting.comparison import MetricRow

HEADLINES = {
    "PROMOTE": "✓ PROMOTE: the challenger is shown to be good enough",
    "KEEP": "– KEEP: the champion stays",
    "INCONCLUSIVE": "? INCONCLUSIVE: not decided, the champion stays",
}
OUTCOMES = {
    "promoted": "✓ Promoted",
    "kept": "– Kept",
    "inconclusive": "? Inconclusive",
    "superseded": "? Superseded",
    "rejected_data": "✗ Rejected data",
    "up_to_date": "= Up to date",
    "skipped": "– Skipped",
}
SIGNS = {"better": "▲ better", "worse": "▼ worse", "unclear": "not shown"}


def comparison_page(sets: Sequence[tuple[str, int, Sequence[MetricRow]]], champion: str | None) -> str:
    """Set by set, its rows, and each metric of both models with what lies between them."""
    against = (
        f"Against {champion}."
        if champion
        else "There is no champion yet: the intervals are of the challenger's values."
    )
    parts = [part for name, rows, metrics in sets for part in _compared(name, rows, metrics)]
    return page(
        heading("Challenger against champion"),
        safe(against),
        "An interval that excludes 0 says *better* or *worse*. The verdict does not rest on these, but on the judge's tests.",
        *parts,
    )


def _compared(name: str, rows: int, metrics: Sequence[MetricRow]) -> tuple[str, ...]:
    columns = ("metric", "challenger", "champion", "difference", "interval", "level", "")
    return section(f"{name}, {counted(rows, 'row')}", table(columns, [_metric(row) for row in metrics]))


def _metric(row: MetricRow) -> tuple[object, ...]:
    if row.difference is None or row.champion is None:
        bounds = f"{value(row.name, row.low)} to {value(row.name, row.high)}"
        return row.title, value(row.name, row.challenger), "–", "–", bounds, row.level, ""
    return (
        row.title,
        value(row.name, row.challenger),
        value(row.name, row.champion),
        bold(amount(row.name, row.difference, sign=True)),
        f"{amount(row.name, row.low, sign=True)} to {amount(row.name, row.high, sign=True)}",
        row.level,
        SIGNS[row.gain],
    )


def verdict_page(verdict: Verdict) -> str:
    """The verdict in its sentence, every rule that was judged, and what the looks at held-out sets cost."""
    judged = [rule for rule in verdict.rules if rule.outcome != "reported"]
    left = len(verdict.rules) - len(judged)
    return page(
        heading(HEADLINES[verdict.verdict]),
        bold(verdict.sentence),
        safe(f"How the comparisons go together: {verdict.composition}.") if verdict.composition else "",
        *section("Rules", table(("outcome", "rule", "on", "rows", "why"), [_rule(rule) for rule in judged])),
        f"{counted(left, 'rule')} had too few rows to be judged; the report lists them." if left else "",
        *section("Looks at held-out sets", listed(look_sentence(look) for look in verdict.looks)),
    )


def _rule(rule: RuleResult) -> tuple[object, ...]:
    marks = {"passed": "✓ passed", "failed": bold("✗ failed"), "undecided": bold("? undecided")}
    on = f"{rule.set}, {rule.slice}" if rule.slice else rule.set
    return marks[rule.outcome], f"{rule_name(rule)}, {asked(rule)}", on, f"{rule.rows:,}", rule.sentence


def result_page(result: RunResult, alias: str, links: Sequence[Link]) -> str:
    """What a run came to, what it left, and where that is."""
    what = [
        ("release", result.release),
        ("champion before" if result.outcome == "promoted" else "champion", result.champion),
        (f"alias {alias}", f"entry {result.alias_entry}" if result.alias_entry else None),
        ("snapshot", result.snapshot[:12] if result.snapshot else None),
        ("took", duration(result.seconds)),
    ]
    stages = [
        (stage.name, "found in the workspace" if stage.cached else duration(stage.seconds), stage.key[:12])
        for stage in result.stages
    ]
    where = [Link("Registry", None, result.registry)] if result.registry else []
    return page(
        heading(OUTCOMES[result.outcome]),
        bold(result.message),
        listed(linked(one) for one in (*links, *where)),
        table(("", " "), [(name, found) for name, found in what if found]),
        *section("Stages", table(("stage", "took", "key"), stages)),
    )
