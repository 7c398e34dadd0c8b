"""The sentences of a verdict: what was found, in words and numbers that can be checked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contender.evaluation.metrics import METRICS
from contender.records import RuleResult


def value(metric: str, number: float) -> str:
    """A metric's value as people read it: 92.4%, or 0.2817 where it is no percentage."""
    return f"{number:.1%}" if METRICS[metric].percent else f"{number:.4f}"


def points(share: float, sign: bool = False) -> str:
    """A difference of shares in percentage points: 1.9 points, +1.9 points."""
    shown = f"{share * 100:{'+' if sign else ''}.1f}".replace("-", "−")
    return f"{'0.0' if shown in ('−0.0', '+0.0') else shown} points"


def p_value(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def about(count: int) -> str:
    """A count rounded to two digits: an estimate must not look like a measurement."""
    digits = max(0, math.floor(math.log10(max(count, 1))) - 1)
    return f"{round(count, -digits):,}"


def floor_sentence(result: RuleResult, higher_is_better: bool) -> str:
    reached = result.outcome == "passed"
    side = ("at or above" if reached else "below") if higher_is_better else ("at or below" if reached else "above")
    title = METRICS[result.metric].title
    return (
        f"{title} on {result.set} is {value(result.metric, result.estimate)}, {side} the "
        f"{'floor' if higher_is_better else 'ceiling'} of {value(result.metric, result.threshold)}.{_left_out(result)}"
    )


def comparison_sentence(result: RuleResult, row_gain: float, refusal: str | None) -> str:
    """One sentence on the comparison with the champion, and one on what was left out of it."""
    if refusal is not None:
        return f"{refusal[0].upper()}{refusal[1:]}: nothing to decide on {result.set}.{_left_out(result)}"
    return f"{_finding(result, row_gain)}{_left_out(result)}{_strange_labels(result)}"


def verdict_sentence(verdict: str, results: Sequence[RuleResult], on: str, compared: bool) -> str:
    """The verdict in one sentence or two, the decisive rule first."""
    if not results:
        return f"There is no champion yet and no floor is set: the first release is promoted as it is, judged on {on}."
    if verdict == "PROMOTE" and not compared:
        return f"There is no champion yet, and every floor is reached: {_listed(results)}"
    decisive = [
        result for result in results if result.outcome == {"KEEP": "failed", "INCONCLUSIVE": "undecided"}.get(verdict)
    ]
    return " ".join(result.sentence for result in (decisive or results[:1]))


def _listed(results: Sequence[RuleResult]) -> str:
    def part(result: RuleResult) -> str:
        facts = METRICS[result.metric]
        border = f"{'floor' if facts.higher_is_better else 'ceiling'} {value(result.metric, result.threshold)}"
        return f"{facts.title.lower()} {value(result.metric, result.estimate)} ({border})"

    return f"{', '.join(part(result) for result in results)}."


def _finding(result: RuleResult, row_gain: float) -> str:
    units = "rows" if result.units == result.rows else "split keys"
    assert (
        result.p_value is not None and result.alpha is not None and result.low is not None and result.high is not None
    )
    title = METRICS[result.metric].title
    counts = f"{result.better:,} {units} better and {result.worse:,} worse of {result.units:,}"
    test = f"{p_value(result.p_value)}, needed ≤ {result.alpha:.4f}"
    if units != "rows":
        counts = f"{counts}, by row {points(row_gain, sign=True)}"
    if result.outcome == "passed":
        return f"{title} on {result.set} {_shown(result)}: {points(result.estimate, sign=True)}, {counts} ({test})."
    if result.outcome == "failed":
        most = f"the gain is at most {points(result.high, sign=True)}"
        return f"{title} on {result.set} is not {_wanted(result)}: {most}; {counts}."
    return (
        f"{title} on {result.set} is not shown to be {_wanted(result)}, nor the opposite: {points(result.estimate, sign=True)}, "
        f"between {points(result.low, sign=True)} and {points(result.high, sign=True)}, {counts} ({test}). {_more(result)}"
    )


def _shown(result: RuleResult) -> str:
    if result.rule.startswith("non_inferior"):
        return f"is shown to be at most {points(-result.threshold)} lower"
    return (
        "is shown to be higher"
        if result.threshold == 0
        else f"is shown to be more than {points(result.threshold)} higher"
    )


def _wanted(result: RuleResult) -> str:
    if result.rule.startswith("non_inferior"):
        return f"within {points(-result.threshold)} of the champion's"
    return (
        "higher than the champion's"
        if result.threshold == 0
        else f"more than {points(result.threshold)} higher than the champion's"
    )


def _more(result: RuleResult) -> str:
    if result.rows_needed is None:
        return "The models differ too little to say how many more rows would decide."
    return f"About {about(result.rows_needed - result.rows)} more held-out rows would decide, if the difference stays."


def _left_out(result: RuleResult) -> str:
    if not result.dropped:
        return ""
    return f" {result.dropped:,} rows that a model trained on are left out."


def _strange_labels(result: RuleResult) -> str:
    if not result.unknown_labels:
        return ""
    return f" {result.unknown_labels:,} rows carry a label that the champion does not know and count as wrong for it."
