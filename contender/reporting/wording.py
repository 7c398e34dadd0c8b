"""Words of the report: rules, tests and numbers as people say them."""

from __future__ import annotations

from contender.judging.words import MEASURES, amount, facts, in_sentence, value
from contender.records import RuleResult


def signed(name: str, number: float) -> str:
    """A difference of a metric: +1.9 points, or −0.0312 where it is no percentage."""
    return amount(name, number, sign=True)


def tick(number: float, percent: bool = False) -> str:
    """A value beside an axis, as short as it can be."""
    text = f"{number * 100 if percent else number:,.6f}".rstrip("0").rstrip(".").replace("-", "−")
    if text in ("0", "−0") and number:
        text = f"{number:.1g}".replace("-", "−")
    return f"{text}%" if percent else text


def rule_name(rule: RuleResult) -> str:
    """A rule as people call it: floor on accuracy, better than the champion."""
    title = in_sentence(rule.metric)
    if rule.kind == "floor":
        return f"{'Floor' if facts(rule.metric).higher_is_better else 'Ceiling'}: {title}"
    if rule.rule.startswith("compressed:"):
        return f"Beside what it was compressed from: {title}"
    if rule.kind == "guard":
        return f"Guard: {title}{f' on {rule.slice or rule.set}' if rule.rule not in MEASURES else ''}"
    name = "Better than the champion" if rule.rule.startswith("superior") else "No worse than the champion"
    return f"{name}: {title} on {rule.set}"


def asked(rule: RuleResult) -> str:
    """What the rule asks for: at least 85.0%; a gain above 0.5 points."""
    if rule.kind == "guard" and rule.metric not in MEASURES:
        return f"no drop beyond {amount(rule.metric, -rule.threshold)}"
    if rule.kind == "comparison":
        return (
            "a gain above 0"
            if rule.threshold == 0
            else f"a gain above {amount(rule.metric, rule.threshold, sign=True)}"
        )
    return f"{'at least' if facts(rule.metric).higher_is_better else 'at most'} {value(rule.metric, rule.threshold)}"


def test_name(rule: RuleResult) -> str:
    """The test that decided a comparison, in words."""
    if rule.resamples:
        sign = "the larger p-value of the exact sign test by key and of a " if rule.better is not None else "a "
        return f"{sign}paired bootstrap with {rule.resamples:,} resamples"
    if rule.threshold == 0:
        return "the exact binomial test of better rows among better and worse ones (McNemar)"
    return "the exact unconditional test, ordered by the score statistic"


def bounds(rule: RuleResult) -> str:
    """The rule's interval: of the gain, or of the metric itself for a floor."""
    assert rule.low is not None and rule.high is not None
    if rule.kind == "floor" or rule.metric in MEASURES:
        return f"{value(rule.metric, rule.low)} to {value(rule.metric, rule.high)}"
    return f"{amount(rule.metric, rule.low, sign=True)} to {amount(rule.metric, rule.high, sign=True)}"


def duration(seconds: float) -> str:
    """0.4 s, 12 min 5 s, 3 h 20 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def rough(number: float) -> str:
    """Two digits behind the point, or three at all: 1,203.50, 0.42, 0.00213."""
    if number >= 1:
        return f"{number:,.2f}"
    return f"{number:.3g}" if number >= 1e-4 or not number else "< 0.0001"


def energy(kwh: float) -> str:
    """1.35 kWh, 12.00 Wh, 0.31 Wh."""
    return f"{rough(kwh)} kWh" if kwh >= 1 else f"{rough(kwh * 1000)} Wh"
