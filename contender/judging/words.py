"""The sentences of a verdict: what was found, in words and numbers that can be checked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contender.evaluation.metrics import METRICS, MetricFacts
from contender.judging.rules import Requirement, Rules
from contender.names import COSTS
from contender.verdict import Look, RuleResult

# Guarded quantities that are no metrics of outcomes → their unit.
MEASURES = {"model_size_mb": "MB", "latency_median_ms": "ms", "latency_p95_ms": "ms", "latency_ratio": "times"}
UNITS = MEASURES | COSTS
TITLES = {
    "latency_ms": "Median latency",
    "size_mb": "Model size",
    "train_seconds": "Training time",
    "model_size_mb": "Model size",
    "latency_median_ms": "Median latency",
    "latency_p95_ms": "95th percentile of latency",
    "latency_ratio": "Median latency",
}


def facts(name: str) -> MetricFacts:
    """Of a metric, or of a quantity that is none: for all of these the lower is the better."""
    return METRICS.get(name) or MetricFacts(TITLES[name], (), higher_is_better=False, percent=False)


def in_sentence(metric: str) -> str:
    """Its title inside a sentence: accuracy, F1 (macro)."""
    title = facts(metric).title
    return title if title[1:2].isdigit() or title[1:2].isupper() else f"{title[0].lower()}{title[1:]}"


def value(metric: str, number: float) -> str:
    """A metric's value as people read it: 92.4%, or 0.2817 where it is no percentage, or 41.2 ms."""
    if unit := UNITS.get(metric):
        return f"{number:,.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
    return f"{number:.1%}" if METRICS[metric].percent else f"{number:.4f}"


def amount(metric: str, number: float, sign: bool = False) -> str:
    """A difference of a metric: 1.9 points, or 0.0312 where it is no percentage."""
    if facts(metric).percent:
        return points(number, sign)
    return f"{number:{'+' if sign else ''}.4f}".replace("-", "−")


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


def floor_sentence(result: RuleResult, higher_is_better: bool, bounded: bool = False) -> str:
    title, limit = facts(result.metric).title, "floor" if higher_is_better else "ceiling"
    border = f"the {limit} of {value(result.metric, result.threshold)}"
    if result.outcome == "undecided" or (bounded and result.outcome == "passed"):
        bound = result.low if higher_is_better else result.high
        assert bound is not None
        shown = f"its {'lower' if higher_is_better else 'upper'} bound {value(result.metric, bound)}"
        side = f"{shown} reaches" if result.outcome == "passed" else f"but {shown} does not reach"
        return (
            f"{title} on {result.set} is {value(result.metric, result.estimate)}, {side} {border}.{_left_out(result)}"
        )
    reached = result.outcome == "passed"
    side = ("at or above" if reached else "below") if higher_is_better else ("at or below" if reached else "above")
    return f"{title} on {result.set} is {value(result.metric, result.estimate)}, {side} {border}.{_left_out(result)}"


def unmeasured_sentence(result: RuleResult) -> str:
    title = facts(result.metric).title
    return f"{title} cannot be measured: the model trained on all {result.dropped:,} rows of {result.set}."


def comparison_sentence(result: RuleResult, refusal: str | None) -> str:
    """One sentence on the comparison with the champion, and one on what was left out of it."""
    if refusal is not None:
        return f"{refusal[0].upper()}{refusal[1:]}: nothing to decide on {result.set}.{_left_out(result)}"
    return f"{_finding(result)}{_left_out(result)}{_strange_labels(result)}"


def guard_sentence(result: RuleResult, refusal: str | None) -> str:
    """One sentence on a guarded slice or set."""
    where = f"{result.set}, {result.slice}" if result.slice else result.set
    title, allowed = facts(result.metric).title, amount(result.metric, -result.threshold)
    change = amount(result.metric, result.estimate, sign=True)
    if refusal is not None:
        return f"{title} on {where} is not judged: {refusal} ({change})."
    assert result.p_value is not None and result.alpha is not None and result.low is not None
    worse = "worse" if result.estimate < 0 else "better"
    found = f"{title} on {where} is {amount(result.metric, abs(result.estimate))} {worse} on {result.rows:,} rows"
    if not result.estimate:
        found = f"{title} on {where} is the same on {result.rows:,} rows"
    test = f"{p_value(result.p_value)}, level {result.alpha:.4g}"
    if result.outcome == "failed":
        return f"{found}, more than the {allowed} allowed, and shown to be worse ({test}).{_left_out(result)}"
    if result.outcome == "undecided":
        bound = amount(result.metric, result.low, sign=True)
        return f"{found}, but not shown to be within the {allowed} allowed: at worst {bound} ({test}). {_more(result)}"
    return f"{found}, within what is allowed: {_why_passed(result, allowed)} ({test})."


def _why_passed(result: RuleResult, allowed: str) -> str:
    if -result.estimate <= -result.threshold:
        return f"a drop of {allowed}"
    return f"more than {allowed}, but not shown to be a drop at all"


def limit_sentence(result: RuleResult) -> str:
    """One sentence on a guarded quantity with a ceiling."""
    title, measured = facts(result.metric).title, value(result.metric, result.estimate)
    relation = " of the champion's" if result.metric == "latency_ratio" else ""
    bounds = ""
    if result.low is not None and result.high is not None:
        bounds = f" (between {value(result.metric, result.low)} and {value(result.metric, result.high)})"
    limit = value(result.metric, result.threshold)
    side = {"passed": "within", "failed": "above"}.get(result.outcome, "not shown to be within")
    if result.outcome == "passed" and result.estimate > result.threshold:
        side = "not shown to be above"
    return f"{title} is {measured}{relation}{bounds}, {side} the limit of {limit}."


def composed(rules: Rules) -> str:
    """How the comparisons go together: superior accuracy on test, or (… and …)."""

    def said(rule: Requirement, inner: bool) -> str:
        if not rule.parts:
            bound = amount(rules.metric_of(rule), abs(rule.threshold))
            beyond = f" by more than {bound}" if rule.min_gain else f" within {bound}" if rule.margin else ""
            return f"{rule.rule} {rules.metric_of(rule)}{beyond} on {rules.set_of(rule)}"
        text = (" or " if rule.any else " and ").join(said(part, True) for part in rule.parts)
        return f"({text})" if inner and len(rule.parts) > 1 else text

    return said(rules.versus, False)


def verdict_sentence(verdict: str, results: Sequence[RuleResult], compared: str, on: str, champion: bool) -> str:
    """The verdict in one sentence or two, the decisive rules first. `compared`: what the comparisons came to together."""
    if not results:
        return f"There is no champion yet and no floor is set: the first release is promoted as it is, judged on {on}."
    if verdict == "PROMOTE" and not champion:
        return f"There is no champion yet, and every floor is reached: {_listed(results)}"
    wanted = {"KEEP": "failed", "INCONCLUSIVE": "undecided"}.get(verdict, "passed")
    decisive = [
        result for result in results if result.outcome == wanted and (result.kind != "comparison" or compared == wanted)
    ]
    if verdict == "PROMOTE":
        decisive = [result for result in decisive if result.kind == "comparison"]
    return " ".join(result.sentence for result in decisive)


def look_sentence(look: Look) -> str:
    """How much of a held-out set's life is used."""
    again = f" of generation {look.generation}" if look.generation > 1 else ""
    waiting = ""
    if look.waiting:
        waiting = f"; {look.waiting:,} that were never judged wait until they suffice on their own"
    return (
        f"Look {look.look}{again} at {look.set} ({look.units:,} rows or keys) spends {look.alpha:.2g}: "
        f"{look.spent:.0%} of what all looks at them may spend is used{waiting}."
    )


def _listed(results: Sequence[RuleResult]) -> str:
    def part(result: RuleResult) -> str:
        found = facts(result.metric)
        border = f"{'floor' if found.higher_is_better else 'ceiling'} {value(result.metric, result.threshold)}"
        return f"{in_sentence(result.metric)} {value(result.metric, result.estimate)} ({border})"

    return f"{', '.join(part(result) for result in results)}."


def _finding(result: RuleResult) -> str:
    assert (
        result.p_value is not None and result.alpha is not None and result.low is not None and result.high is not None
    )
    title = facts(result.metric).title
    test = f"{p_value(result.p_value)}, needed ≤ {result.alpha:{'.4f' if result.alpha >= 1e-4 else '.1e'}}"
    gain, counts = _gain(result), _counts(result)
    if result.outcome == "passed":
        return f"{title} on {result.set} {_shown(result)}: {gain}, {counts} ({test})."
    if result.outcome == "failed":
        most = f"the gain is at most {amount(result.metric, result.high, sign=True)}"
        return f"{title} on {result.set} is not {_wanted(result)}: {most}; {counts}."
    low, high = (amount(result.metric, bound, sign=True) for bound in (result.low, result.high))
    return (
        f"{title} on {result.set} is not shown to be {_wanted(result)}, nor the opposite: {gain}, "
        f"a gain between {low} and {high}, {counts} ({test}). {_more(result)}"
    )


def _gain(result: RuleResult) -> str:
    if facts(result.metric).higher_is_better:
        return amount(result.metric, result.estimate, sign=True)
    return f"{'worse' if result.estimate < 0 else 'better'} by {amount(result.metric, abs(result.estimate))}"


def _counts(result: RuleResult) -> str:
    units = "rows" if result.units == result.rows else "split keys"
    of_rows = "" if units == "rows" else f" with {result.rows:,} rows"
    if result.better is None or result.worse is None:
        return f"on {result.units:,} {units}{of_rows}"
    return f"{result.better:,} {units} better and {result.worse:,} worse of {result.units:,}{of_rows}"


def _better(result: RuleResult) -> str:
    return "higher" if facts(result.metric).higher_is_better else "lower"


def _shown(result: RuleResult) -> str:
    bound = amount(result.metric, abs(result.threshold))
    if result.rule.startswith("non_inferior"):
        return f"is shown to be at most {bound} {'lower' if _better(result) == 'higher' else 'higher'}"
    return f"is shown to be {_better(result) if result.threshold == 0 else f'more than {bound} {_better(result)}'}"


def _wanted(result: RuleResult) -> str:
    bound = amount(result.metric, abs(result.threshold))
    if result.rule.startswith("non_inferior"):
        return f"within {bound} of the champion's"
    return f"{'' if result.threshold == 0 else f'more than {bound} '}{_better(result)} than the champion's"


def _more(result: RuleResult) -> str:
    if result.rows_needed is None:
        return "The models differ too little to say how many more rows would decide."
    return f"About {about(result.rows_needed - result.rows)} more held-out rows would decide, if the difference stays."


def _left_out(result: RuleResult) -> str:
    found = ""
    if result.dropped:
        found += f" {result.dropped:,} rows that a model trained on are left out."
    if result.waiting:
        found += f" {result.waiting:,} rows that were never judged wait until they suffice on their own."
    return found


def _strange_labels(result: RuleResult) -> str:
    if not result.unknown_labels:
        return ""
    return f" {result.unknown_labels:,} rows carry a label that the champion does not know and count as wrong for it."
