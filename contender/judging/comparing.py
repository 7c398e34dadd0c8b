"""The comparisons with the champion: each decided by two one-sided tests at its share of the look's alpha, one in each direction."""

from __future__ import annotations

from collections.abc import Sequence

from contender.judging.evidence import Evidence, Exact, Sampled, evidence
from contender.judging.fairness import refusal
from contender.judging.held_out import Fair
from contender.judging.rules import Requirement, Rules
from contender.judging.words import comparison_sentence
from contender.verdict import RuleOutcome, RuleResult

SAME = "the challenger is the champion, byte for byte"


def compare(
    rules: Rules, leaf: Requirement, held: Fair, alpha: float, labels: Sequence[str] | None, same: bool
) -> RuleResult:
    """One comparison on the rows that its look may judge. `labels`: those that the champion knows; `same`: it is the champion."""
    metric, threshold = rules.metric_of(leaf), leaf.threshold
    why_not = SAME if same else refusal(held.keys, held.dropped)
    assert held.theirs is not None
    base = RuleResult(
        rule=f"{leaf.rule}:{metric}",
        kind="comparison",
        set=held.name,
        metric=metric,
        estimate=0.0,
        threshold=threshold,
        alpha=alpha,
        rows=held.rows,
        outcome="failed" if same else "undecided",
        sentence="",
        dropped=held.dropped,
        waiting=held.waiting,
        unknown_labels=held.unknown_labels(labels),
    )
    if not held.rows:
        return base.model_copy(update={"sentence": comparison_sentence(base, why_not)})
    found = evidence(metric, held.ours, held.theirs, held.keys)
    result = base.model_copy(update=_tested(found, held.rows, threshold, alpha))
    if why_not:
        result = result.model_copy(update={"outcome": base.outcome, "rows_needed": None})
    return result.model_copy(update={"sentence": comparison_sentence(result, why_not)})


def _tested(found: Evidence, rows: int, threshold: float, alpha: float) -> dict[str, object]:
    p_above, p_below = found.p_above(threshold, alpha), found.p_below(threshold, alpha)
    outcome: RuleOutcome = "passed" if p_above <= alpha else "failed" if p_below <= alpha else "undecided"
    low, high = agreeing(found.bounds(alpha), threshold, p_above <= alpha, p_below <= alpha)
    needed = found.units_needed(threshold, alpha) if outcome == "undecided" else None
    return {
        "estimate": found.estimate,
        "low": low,
        "high": high,
        "p_value": p_above,
        "outcome": outcome,
        "rows_needed": round(needed * rows / found.units) if needed else None,
        "units": found.units,
        "resamples": found.resamples,
    } | signs_of(found)


def signs_of(found: Evidence) -> dict[str, object]:
    counts = found.counts if isinstance(found, Exact) else found.signs if isinstance(found, Sampled) else None
    return {"better": counts.better, "worse": counts.worse} if counts else {}


def agreeing(bounds: tuple[float, float], threshold: float, above: bool, below: bool) -> tuple[float, float]:
    """The interval, moved to the threshold where it and the tests, which decide, disagree about it by a hair."""
    low, high = bounds
    low = max(low, threshold) if above else min(low, threshold)
    high = min(high, threshold) if below else max(high, threshold)
    return low, high
