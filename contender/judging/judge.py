"""The judge: pure functions from stored outcomes and rules to a verdict. The same input gives the same verdict, sentence included.

PROMOTE: every rule passed. KEEP: a rule is decided against: a floor is missed, a guard tripped, or the upper bound of the gain is at
or below `min_gain` (non-inferiority: below −margin). INCONCLUSIVE: the rest, with about how many rows would decide.

    floors (floors.py) ──┐
    versus_champion      ├─ all ─▶ PROMOTE │ KEEP │ INCONCLUSIVE
      (comparing.py,     │         passed    failed   undecided
       all │ any) ───────┤
    guards (guards.py) ──┘
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from contender.evaluation.metrics import metric_revisions
from contender.judging import paired
from contender.judging.comparing import compare
from contender.judging.fairness import FEWEST_UNITS
from contender.judging.floors import judge_floors
from contender.judging.guards import Measure, judge_guards
from contender.judging.held_out import Fair, HeldOut, fair
from contender.judging.rules import Requirement, Rules
from contender.judging.spending import alpha_of
from contender.judging.words import composed, verdict_sentence
from contender.verdict import Look, RuleOutcome, RuleResult, Verdict

Array = np.ndarray[Any, np.dtype[Any]]


def judge(
    rules: Rules,
    sets: Mapping[str, HeldOut],
    *,
    judged_against: int,
    champion_release: str | None = None,
    release: str | None = None,
    trained_on: Iterable[Array | None] = (),
    champion_labels: Sequence[str] | None = None,
    measures: Mapping[str, Measure] | None = None,
    others: Sequence[RuleResult] = (),
) -> Verdict:
    """The verdict on a challenger from both models' outcomes on held-out sets; UsageError for a metric that is not known.

    trained_on: sorted uint64 keys that a model trained on, one array per model. champion_labels: those the champion knows.
    release: the challenger's; the champion itself is never promoted over itself. measures: name of a guard → what was measured.
    others: rules that were judged elsewhere, all of which must pass too.
    """
    metric_revisions(sorted(rules.metrics()))
    trained = list(trained_on)
    held = {name: fair(name, one, trained) for name, one in sets.items()}
    same = release is not None and release == champion_release
    comparisons, decided = _compared(rules, sets, held, champion_labels, same)
    floors = list(judge_floors(rules, held[rules.on]))
    looks = [look for name in rules.compared_on() if (look := sets[name].look)]
    alpha = min((look.alpha for look in looks), default=1 - rules.versus.confidence)
    guards = list(judge_guards(rules, held, measures or {}, alpha))
    outcome = _verdict([decided, *(result.outcome for result in (*floors, *guards, *others))])
    results = [*comparisons, *floors, *guards]
    decisive = results if outcome == "PROMOTE" else [*results, *others]
    return Verdict(
        verdict=outcome,
        sentence=verdict_sentence(outcome, decisive, decided, rules.on, bool(comparisons)),
        rules=(*results, *others),
        composition=composed(rules) if len(comparisons) > 1 else None,
        looks=tuple(looks),
        judged_against=judged_against,
        champion=champion_release,
    )


def smallest_gain(
    units: int,
    alpha: float,
    power: float = paired.POWER,
    discordant: float = paired.DISCORDANT,
    min_gain: float = 0.0,
) -> float | None:
    """The smallest true gain of accuracy that a look at so many held-out units shows with this power; None: no gain at all.

    alpha: what the look may spend. `discordant` is the share of units on which just one of the models is right. Above a `min_gain`
    as much more must be gained.
    """
    if units < FEWEST_UNITS:
        return None
    gain = paired.gain_shown(units, alpha, power, discordant)
    return None if gain is None or gain + min_gain > 1 else gain + min_gain


def enough(rules: Rules, held_out: str, units: int) -> bool:
    """Whether a first look at so many units of a set shows, with 80% power, the gain that its comparisons should be able to show."""
    gains = [
        (smallest_gain(units, alpha_of(1, rules.versus.confidence) * share), rules.versus.worth(leaf))
        for leaf, share in rules.versus.leaves()
        if rules.set_of(leaf) == held_out
    ]
    return all(gain is not None and gain <= worth for gain, worth in gains)


def _compared(
    rules: Rules, sets: Mapping[str, HeldOut], held: Mapping[str, Fair], labels: Sequence[str] | None, same: bool
) -> tuple[list[RuleResult], RuleOutcome]:
    """Every comparison, and what they come to together; none where there is no champion."""
    if sets[rules.on].champion is None:
        return [], "passed"
    found: list[RuleResult] = []
    for leaf, share in rules.versus.leaves():
        name = rules.set_of(leaf)
        alpha = 1 - rules.versus.confidence if same else _alpha(sets[name].look, name) * share
        keys = sets[name].keys
        judged = held[name] if keys is None or same else held[name].judged(keys)
        found.append(compare(rules, leaf, judged, alpha, labels, same))
    return found, _composed(rules.versus, iter(found))


def _alpha(look: Look | None, name: str) -> float:
    if look is None or not 0 < look.alpha < 1:
        raise ValueError(f"a comparison on {name} needs the alpha of its look at the ledger")
    return look.alpha


def _composed(rule: Requirement, results: Iterator[RuleResult]) -> RuleOutcome:
    """What the comparisons of a rule come to: `any` passes with one of them, `all` fails with one of them."""
    if not rule.parts:
        return next(results).outcome
    outcomes = [_composed(part, results) for part in rule.parts]
    decisive: RuleOutcome = "passed" if rule.any else "failed"
    if decisive in outcomes:
        return decisive
    return "undecided" if "undecided" in outcomes else outcomes[0]


def _verdict(outcomes: Sequence[RuleOutcome]) -> Any:
    if "failed" in outcomes:
        return "KEEP"
    return "INCONCLUSIVE" if "undecided" in outcomes else "PROMOTE"
