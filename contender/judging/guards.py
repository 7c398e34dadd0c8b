"""The guards: what a challenger must not spoil, however much better it is elsewhere.

A guard looks for harm: it blocks where the drop that is measured exceeds what is allowed, and a one-sided test rejects "no drop" at
level 1 − confidence, Holm-adjusted over all guards of the verdict (S. Holm, Scandinavian Journal of Statistics 6:65–70, 1979), so
that many slices block no more often by chance than one. A strict guard asks for the opposite: it must be shown, at the look's alpha,
that the drop is smaller than what is allowed. Guards see every comparable row, also those that wait to be compared: they can only
keep a challenger back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from contender.errors import UsageError
from contender.evaluation.evaluate import groups
from contender.evaluation.metrics import METRICS, scores
from contender.judging.comparing import agreeing, signs_of
from contender.judging.evidence import Evidence, evidence
from contender.judging.fairness import refusal
from contender.judging.held_out import Fair
from contender.judging.rules import Rules
from contender.judging.words import MEASURES, guard_sentence, limit_sentence
from contender.text import shorten
from contender.verdict import RuleOutcome, RuleResult

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 100  # characters of a slice's value: it is text from the data
SMALL_SLICES = 10  # of a column that are reported though they are too small to judge


@dataclass(frozen=True)
class Measure:
    """A quantity that is no metric of outcomes: the model's size, a latency.

    low and high: its bounds, each at level 1 − confidence; None where `examples` is 0, since it is exact then, and where there are too
    few examples for one. p_harm: one-sided p-value of "no worse than the
    champion's"; None where nothing is compared.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_harm: float | None = None
    examples: int = 0


def latency_measures(timings: pa.Table, rules: Rules) -> dict[str, Measure]:
    """The latencies that guards have limits for, from the milliseconds of each example, both models in turn."""
    from contender.evaluation.latency import column, p_slower, quantile

    level = 2 * rules.versus.confidence - 1  # each bound at 1 − confidence
    ours = column(timings, "challenger")

    def measure(values: Any, share: float, p_harm: float | None = None) -> Measure:
        found = quantile(values, share, level)
        return Measure(found.ms, found.low, found.high, p_harm, len(values))

    measures = {"latency_median_ms": measure(ours, 0.5), "latency_p95_ms": measure(ours, 0.95)}
    if "champion" in timings.column_names:
        theirs = column(timings, "champion")
        measures["latency_ratio"] = measure(ours / theirs, 0.5, p_slower(ours, theirs))
    return measures


@dataclass(frozen=True)
class Guarded:
    """One metric on the rows of one slice or set, and how much worse the challenger may be there."""

    rule: str
    metric: str
    held: Fair
    allowed: float
    slice: str | None = None
    fewest: int = 0


def judge_guards(
    rules: Rules, sets: Mapping[str, Fair], measures: Mapping[str, Measure], alpha: float
) -> Iterator[RuleResult]:
    """One result for each guarded slice, set and measure. alpha: the look's, for strict guards."""
    compared = [_Compared.of(one) for one in _guarded(rules, sets)] if sets[rules.on].theirs else []
    if rules.guards.strict:
        yield from (one.strict(alpha) for one in compared)
        yield from (_limit(rules, name, limit, measures[name]) for name, limit in _limits(rules, measures))
        return
    level = 1 - rules.versus.confidence
    limits = dict(_limits(rules, measures))
    harms = [one.p_harm(level / (len(compared) + len(limits))) for one in compared]
    others = [measures[name].p_harm for name in limits]
    rejected = holm([*harms, *others], level)
    yield from (one.lenient(p, harmed, level) for one, p, harmed in zip(compared, harms, rejected, strict=False))
    for (name, limit), harmed in zip(limits.items(), rejected[len(compared) :], strict=True):
        yield _limit(rules, name, limit, measures[name], harmed)


def judge_alone(guarded: Guarded, level: float) -> RuleResult:
    """A guard that shares its level with no other."""
    one = _Compared.of(guarded)
    p_harm = one.p_harm(level)
    return one.lenient(p_harm, p_harm is not None and p_harm <= level, level)


def holm(p_values: Sequence[float | None], level: float) -> list[bool]:
    """Which hypotheses are rejected, the chance of any false rejection being at most `level`; None takes no part, and is not."""
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    rejected = [False] * len(p_values)
    for rank, (p, place) in enumerate(tested):
        if p > level / (len(tested) - rank):
            break
        rejected[place] = True
    return rejected


def _guarded(rules: Rules, sets: Mapping[str, Fair]) -> Iterator[Guarded]:
    guards, held = rules.guards, sets[rules.on]
    if guards.slices.max_drop is not None:
        for name, part in _slices(held, guards.slices.min_rows):
            yield Guarded("slice", rules.primary, part, guards.slices.max_drop, name, guards.slices.min_rows)
    if guards.golden.max_drop is not None:
        for name, part in sets.items():
            if name.startswith("golden-"):
                yield Guarded("golden", rules.primary, part, guards.golden.max_drop)
    if guards.calibration.max_rise is not None:
        yield Guarded("calibration", "calibration_error", held, guards.calibration.max_rise)


def _slices(held: Fair, fewest: int) -> Iterator[tuple[str, Fair]]:
    """The values of every guarded column with their rows, the commonest first; of those too small to judge the first few."""
    if held.slices is None or not held.rows:
        return
    rest = replace(held, slices=None)
    for column in held.slices.column_names:
        small = 0
        for value, members in groups(held.slices.column(column)):
            small += len(members) < fewest
            if small > SMALL_SLICES:
                break
            yield f"{column}={shorten(value, SHOWN)}", rest.take(members)


@dataclass(frozen=True)
class _Compared:
    """One guard with what was found; `found` is None where nothing can be judged, and `result` says why."""

    result: RuleResult
    allowed: float
    found: Evidence | None

    @classmethod
    def of(cls, guarded: Guarded) -> _Compared:
        held = guarded.held
        result = RuleResult(
            rule=f"{guarded.rule}:{guarded.metric}" if guarded.rule != "calibration" else "calibration",
            kind="guard",
            set=held.name,
            slice=guarded.slice,
            metric=guarded.metric,
            estimate=0.0,
            threshold=-guarded.allowed,
            rows=held.rows,
            outcome="reported",
            sentence="",
            dropped=held.dropped if guarded.slice is None else 0,
        )
        few = f"{held.rows:,} rows are fewer than {guarded.fewest}" if held.rows < guarded.fewest else None
        why_not = few or refusal(held.keys, result.dropped)
        assert held.theirs is not None
        if why_not:
            if held.rows:
                result = result.model_copy(update={"estimate": difference(guarded.metric, held)})
            return cls(result.model_copy(update={"sentence": guard_sentence(result, why_not)}), guarded.allowed, None)
        found = evidence(guarded.metric, held.ours, held.theirs, held.keys)
        known = {"estimate": found.estimate, "units": found.units, "resamples": found.resamples}
        return cls(result.model_copy(update=known | signs_of(found)), guarded.allowed, found)

    def p_harm(self, alpha: float) -> float | None:
        """One-sided p-value of "no drop"; alpha: the smallest level that it will be compared with."""
        return self.found.p_below(0.0, alpha) if self.found else None

    def lenient(self, p_harm: float | None, harmed: bool, level: float) -> RuleResult:
        """Blocks where the measured drop is larger than allowed, and is shown to be a drop."""
        if not self.found:
            return self.result
        blocks = harmed and self.found.estimate < -self.allowed
        return self._said("failed" if blocks else "passed", p_harm, level)

    def strict(self, alpha: float) -> RuleResult:
        """Passes where the drop is shown to be smaller than allowed."""
        if not self.found:
            return self.result.model_copy(update={"outcome": "undecided" if not self.result.slice else "reported"})
        above = self.found.p_above(-self.allowed, alpha)
        below = self.found.p_below(-self.allowed, alpha)
        outcome: RuleOutcome = "passed" if above <= alpha else "failed" if below <= alpha else "undecided"
        needed = self.found.units_needed(-self.allowed, alpha) if outcome == "undecided" else None
        rows = round(needed * self.result.rows / self.found.units) if needed else None
        return self._said(outcome, above, alpha, rows, (above <= alpha, below <= alpha))

    def _said(
        self,
        outcome: RuleOutcome,
        p_value: float | None,
        alpha: float,
        rows_needed: int | None = None,
        decided: tuple[bool, bool] | None = None,
    ) -> RuleResult:
        assert self.found
        low, high = self.found.bounds(alpha)
        if decided:
            low, high = agreeing((low, high), -self.allowed, *decided)
        update = {
            "outcome": outcome,
            "p_value": p_value,
            "alpha": alpha,
            "low": low,
            "high": high,
            "rows_needed": rows_needed,
        }
        result = self.result.model_copy(update=update)
        return result.model_copy(update={"sentence": guard_sentence(result, None)})


def difference(metric: str, held: Fair) -> float:
    """The gain in a metric, above 0 where the challenger is better."""
    assert held.theirs is not None
    (ours,), (theirs,) = scores(held.ours, [metric]).values(), scores(held.theirs, [metric]).values()
    return ours - theirs if METRICS[metric].higher_is_better else theirs - ours


def _limits(rules: Rules, measures: Mapping[str, Measure]) -> Iterator[tuple[str, float]]:
    """The guarded quantities that are no metrics, and the most that they may be; UsageError for one that was not measured."""
    for name in MEASURES:
        limit = getattr(rules.guards, name)
        if limit is None:
            continue
        if name not in measures:
            if name == "latency_ratio":
                continue  # nothing to compare with yet
            raise UsageError(f"guards.{name} has no value", "It is measured where the challenger is evaluated.")
        yield name, limit


def _limit(rules: Rules, name: str, limit: float, measure: Measure, harmed: bool = False) -> RuleResult:
    """A ceiling. What is measured with noise blocks where it is shown to be above; strict: passes where it is shown to be below."""
    noisy = measure.examples > 0
    # Too few examples for a bound: nothing is shown on that side.
    low = measure.low if measure.low is not None else -math.inf if noisy else measure.value
    high = measure.high if measure.high is not None else math.inf if noisy else measure.value
    outcome: RuleOutcome
    if rules.guards.strict:
        outcome = "passed" if high <= limit else "failed" if low > limit else "undecided"
    elif measure.p_harm is not None:
        outcome = "failed" if harmed and measure.value > limit else "passed"
    else:
        outcome = "failed" if measure.value > limit and low > limit else "passed"
    result = RuleResult(
        rule=name,
        kind="guard",
        set=rules.on,
        metric=name,
        estimate=measure.value,
        low=measure.low,
        high=measure.high,
        threshold=limit,
        p_value=measure.p_harm,
        alpha=1 - rules.versus.confidence if noisy else None,
        rows=measure.examples,
        outcome=outcome,
        sentence="",
    )
    return result.model_copy(update={"sentence": limit_sentence(result)})
