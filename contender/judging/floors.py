"""The floors: absolute values that the challenger's metrics must reach, champion or not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS, scores
from contender.evaluation.outcomes import Array, Outcomes
from contender.judging import paired
from contender.judging.held_out import Fair
from contender.judging.resampling import bootstrap
from contender.judging.rules import Floor, Rules
from contender.judging.words import floor_sentence, unmeasured_sentence
from contender.verdict import RuleOutcome, RuleResult


def judge_floors(rules: Rules, held: Fair) -> Iterator[RuleResult]:
    """One result for each floor; UsageError for a metric that has no value."""
    values = scores(held.ours, list(rules.floors)) if held.rows and rules.floors else {}
    for metric, floor in rules.floors.items():
        result = RuleResult(
            rule=f"floor:{metric}",
            kind="floor",
            set=held.name,
            metric=metric,
            estimate=values.get(metric, 0.0),
            threshold=floor.value,
            rows=held.rows,
            outcome="undecided",
            sentence="",
            dropped=held.dropped,
        )
        yield _measured(rules, held, floor, result) if held.rows else _unmeasured(result)


def _measured(rules: Rules, held: Fair, floor: Floor, result: RuleResult) -> RuleResult:
    if not np.isfinite(result.estimate):
        raise UsageError(
            f"the floor on {result.metric} has no value on {held.name}", "Measure it under evaluate.metrics."
        )
    higher = METRICS[result.metric].higher_is_better
    bounded = floor.by == "lower_bound"
    low, high = None, None
    if bounded or _exact(result.metric, held.keys):  # the bootstrap takes its time: only where a floor asks for it
        low, high = value_bounds(result.metric, held.ours, held.keys, 1 - rules.versus.confidence)
    reached = _reaches(result.estimate, floor.value, higher)
    outcome: RuleOutcome = "passed" if reached else "failed"
    if reached and bounded:
        worst = low if higher else high
        outcome = "passed" if worst is not None and _reaches(worst, floor.value, higher) else "undecided"
    found = result.model_copy(update={"low": low, "high": high, "outcome": outcome})
    return found.model_copy(update={"sentence": floor_sentence(found, higher, bounded)})


def _reaches(value: float, floor: float, higher: bool) -> bool:
    return value >= floor if higher else value <= floor


def value_bounds(metric: str, outcomes: Outcomes, keys: Array, alpha: float) -> tuple[float, float]:
    """Bounds of one model's metric, each at level alpha: exact for accuracy of rows that have a key each, else by the bootstrap."""
    if _exact(metric, keys):
        return paired.clopper_pearson(int(outcomes.right.sum()), outcomes.rows, alpha)
    return bootstrap(metric, outcomes, None, keys).bounds(alpha)


def _exact(metric: str, keys: Array) -> bool:
    return metric == "accuracy" and len(np.unique(keys)) == len(keys)


def _unmeasured(result: RuleResult) -> RuleResult:
    return result.model_copy(update={"sentence": unmeasured_sentence(result)})
