"""The judge: pure functions from stored outcomes and rules to a verdict. The same input gives the same verdict, sentence included.

PROMOTE: every rule passed. KEEP: a rule is decided against: a floor is missed, or the upper bound of the gain is at or below
`min_gain` (non-inferiority: below −margin). INCONCLUSIVE: the rest, with about how many rows would decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS, metric_revisions, scores
from contender.judging import paired
from contender.judging.words import comparison_sentence, floor_sentence, verdict_sentence
from contender.records import Record, RuleResult, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.evaluation.outcomes import Outcomes

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST_UNITS = 20  # split keys below which no comparison is decided
FIRST_LOOK = 6 / np.pi**2  # the share of 1 − confidence that the first look at a set spends


class Rules(Record):
    """What a challenger must satisfy."""

    primary: str
    floors: dict[str, float] = {}
    rule: Literal["superior", "non_inferior"] = "superior"
    confidence: float = 0.95
    min_gain: float = 0.0
    margin: float | None = None
    on: str = "test"

    @property
    def threshold(self) -> float:
        """The gain that must be shown to be exceeded."""
        return self.min_gain if self.rule == "superior" else -(self.margin or 0.0)


@dataclass(frozen=True)
class Comparison:
    """Both models on the rows that neither trained on, counted by unit: a row, or all rows of one split key."""

    rows: int
    dropped: int
    units: int
    better: int
    worse: int
    gain: float  # of accuracy over rows
    unknown_labels: int

    @property
    def by_key(self) -> bool:
        return self.units < self.rows

    @property
    def refusal(self) -> str | None:
        """Why nothing can be decided from these rows, whatever the counts."""
        if self.dropped > self.rows:
            return f"one of the models trained on {self.dropped:,} of {self.rows + self.dropped:,} rows, more than half"
        if self.units < FEWEST_UNITS:
            return f"{self.units} {'split keys' if self.by_key else 'rows'} are fewer than {FEWEST_UNITS}"
        return None


def validate_rules(rules: Rules) -> None:
    """UsageError for what the judge cannot decide; worth asking before anything is trained."""
    metric_revisions([rules.primary, *rules.floors])
    if rules.primary != "accuracy":
        raise UsageError(
            f"{rules.primary} as the primary metric of versus_champion is not supported yet",
            "Let evaluate.metrics begin with accuracy; other metrics can be floors.",
        )
    if rules.rule == "non_inferior" and rules.margin is None:
        raise UsageError("versus_champion: non_inferior needs a margin", "For example: margin: 0.01")
    if not 0 < rules.confidence < 1:
        raise UsageError(f"confidence {rules.confidence} is not between 0 and 1", "For example: confidence: 0.95")


def judge(
    rules: Rules,
    challenger: pa.Table,
    champion: pa.Table | None,
    *,
    judged_against: int,
    champion_release: str | None = None,
    release: str | None = None,
    alpha: float | None = None,
    trained_on: Iterable[Array | None] = (),
    champion_labels: Iterable[str] | None = None,
) -> Verdict:
    """The verdict on a challenger from both models' outcomes on the set `rules.on`, row by row in the same order.

    alpha: what the ledger's look spends. trained_on: sorted uint64 keys that a model trained on, one array per model.
    champion_labels: those the champion knows. release: the challenger's; the champion itself is never promoted over itself.
    """
    from contender.evaluation.outcomes import from_table

    validate_rules(rules)
    keys = challenger.column("key").to_numpy()
    kept = ~_among(keys, trained_on)
    ours = from_table(challenger)
    results = _floors(rules, ours.take(kept), int((~kept).sum()))
    if champion is not None:
        if alpha is None or not 0 < alpha < 1:
            raise ValueError(f"a comparison needs the alpha of its look at the ledger, not {alpha}")
        theirs = _same_rows(challenger, champion)
        comparison = compare(ours, theirs, keys, kept, champion_labels)
        results.insert(0, _versus(rules, comparison, alpha, same=release is not None and release == champion_release))
    outcome = _combine(results)
    sentence = verdict_sentence(outcome, results, rules.on, champion is not None)
    return Verdict(
        verdict=outcome,
        sentence=sentence,
        rules=tuple(results),
        judged_against=judged_against,
        champion=champion_release,
    )


def compare(
    ours: Outcomes, theirs: Outcomes, keys: Array, kept: Array, champion_labels: Iterable[str] | None = None
) -> Comparison:
    """Counts of units that the challenger has better or worse, over the kept rows (rows,) bool."""
    differs = (ours.right.astype(np.int64) - theirs.right.astype(np.int64))[kept]
    _, unit_of = np.unique(keys[kept], return_inverse=True)
    units = int(unit_of.max()) + 1 if len(unit_of) else 0
    by_unit = np.bincount(unit_of, weights=differs, minlength=units)
    return Comparison(
        rows=int(kept.sum()),
        dropped=int((~kept).sum()),
        units=units,
        better=int((by_unit > 0).sum()),
        worse=int((by_unit < 0).sum()),
        gain=float(differs.mean()) if len(differs) else 0.0,
        unknown_labels=_unknown(ours.take(kept), champion_labels),
    )


def smallest_gain(
    rows: int,
    confidence: float,
    power: float = paired.POWER,
    discordant: float = paired.DISCORDANT,
    min_gain: float = 0.0,
) -> float | None:
    """The smallest true gain of accuracy that a first look at `rows` held-out rows shows with this power; None: no gain at all.

    `discordant` is the share of rows on which just one of the models is right. Above a `min_gain` as much more must be gained.
    """
    if rows < FEWEST_UNITS:
        return None
    gain = paired.gain_shown(rows, (1 - confidence) * FIRST_LOOK, power, discordant)
    return None if gain is None or gain + min_gain > 1 else gain + min_gain


def _floors(rules: Rules, outcomes: Outcomes, dropped: int) -> list[RuleResult]:
    if not rules.floors:
        return []
    if outcomes.rows == 0:
        return [_unmeasured(rules, name, floor, dropped) for name, floor in rules.floors.items()]
    values = scores(outcomes, list(rules.floors))
    return [_floor(rules, name, floor, values, outcomes, dropped) for name, floor in rules.floors.items()]


def _floor(
    rules: Rules, name: str, floor: float, values: Mapping[str, float], outcomes: Outcomes, dropped: int
) -> RuleResult:
    value = values.get(name)
    if value is None or not np.isfinite(value):
        raise UsageError(f"the floor on {name} has no value on {rules.on}", "Measure it under evaluate.metrics.")
    higher = METRICS[name].higher_is_better
    low, high = _share_bounds(outcomes, 1 - rules.confidence) if name == "accuracy" else (None, None)
    result = RuleResult(
        rule=f"floor:{name}",
        set=rules.on,
        metric=name,
        estimate=value,
        low=low,
        high=high,
        threshold=floor,
        rows=outcomes.rows,
        outcome="passed" if (value >= floor if higher else value <= floor) else "failed",
        sentence="",
        dropped=dropped,
    )
    return result.model_copy(update={"sentence": floor_sentence(result, higher)})


def _unmeasured(rules: Rules, name: str, floor: float, dropped: int) -> RuleResult:
    return RuleResult(
        rule=f"floor:{name}",
        set=rules.on,
        metric=name,
        estimate=0.0,
        threshold=floor,
        rows=0,
        outcome="undecided",
        sentence=f"{METRICS[name].title} cannot be measured: the model trained on all {dropped:,} rows of {rules.on}.",
        dropped=dropped,
    )


def _versus(rules: Rules, comparison: Comparison, alpha: float, same: bool) -> RuleResult:
    """The comparison with the champion: decided by two exact one-sided tests at the look's alpha, one in each direction."""
    better, worse, units, threshold = comparison.better, comparison.worse, comparison.units, rules.threshold
    p_above = paired.superiority(better, worse, units, threshold)
    p_below = paired.superiority(worse, better, units, -threshold)
    outcome = _decided(comparison, threshold, p_above <= alpha, p_below <= alpha, same)
    low, high = _agreeing(
        paired.score_interval(better, worse, units, alpha), threshold, p_above <= alpha, p_below <= alpha
    )
    needed = paired.units_needed(better, worse, units, threshold, alpha) if outcome == "undecided" and units else None
    per_unit = comparison.rows / units if units else 1.0
    result = RuleResult(
        rule=f"{rules.rule}:{rules.primary}",
        set=rules.on,
        metric=rules.primary,
        estimate=(better - worse) / units if units else 0.0,
        low=low,
        high=high,
        threshold=threshold,
        p_value=p_above,
        alpha=alpha,
        rows=comparison.rows,
        outcome=outcome,
        sentence="",
        rows_needed=None if needed is None else round(needed * per_unit),
        units=units,
        better=better,
        worse=worse,
        dropped=comparison.dropped,
        unknown_labels=comparison.unknown_labels,
    )
    refusal = "the challenger is the champion, byte for byte" if same else comparison.refusal
    return result.model_copy(update={"sentence": comparison_sentence(result, comparison.gain, refusal)})


def _decided(
    comparison: Comparison, threshold: float, above: bool, below: bool, same: bool
) -> Literal["passed", "failed", "undecided"]:
    if same:
        return "failed"
    if comparison.refusal:
        return "undecided"
    # Keys that hold many rows must not lose more than the others win: the sign test sees only how many keys are better.
    if above and (not comparison.by_key or comparison.gain > threshold):
        return "passed"
    return "failed" if below and (not comparison.by_key or comparison.gain <= threshold) else "undecided"


def _agreeing(bounds: tuple[float, float], threshold: float, above: bool, below: bool) -> tuple[float, float]:
    """The score interval, moved to the threshold where it and the exact tests, which decide, disagree about it by a hair."""
    low, high = bounds
    low = max(low, threshold) if above else min(low, threshold)
    high = min(high, threshold) if below else max(high, threshold)
    return low, high


def _combine(results: Sequence[RuleResult]) -> Literal["PROMOTE", "KEEP", "INCONCLUSIVE"]:
    if any(result.outcome == "failed" for result in results):
        return "KEEP"
    return "PROMOTE" if all(result.outcome == "passed" for result in results) else "INCONCLUSIVE"


def _among(keys: Array, trained_on: Iterable[Array | None]) -> Array:
    """(rows,) bool: the key is in one of the sorted arrays."""
    found = np.zeros(len(keys), dtype=bool)
    for trained in trained_on:
        if trained is not None and len(trained):
            places = np.minimum(np.searchsorted(trained, keys), len(trained) - 1)
            found |= trained[places] == keys
    return found


def _same_rows(challenger: pa.Table, champion: pa.Table) -> Outcomes:
    """The champion's outcomes, checked to be of the challenger's rows."""
    from contender.evaluation.outcomes import from_table

    same = challenger.num_rows == champion.num_rows and all(
        challenger.column(name).equals(champion.column(name)) for name in ("key", "label")
    )
    if not same:
        raise ValueError("the outcomes of challenger and champion are not of the same rows in the same order")
    return from_table(champion)


def _unknown(outcomes: Outcomes, champion_labels: Iterable[str] | None) -> int:
    if champion_labels is None:
        return 0
    known = set(champion_labels)
    strange = np.array([name not in known for name in outcomes.names], dtype=bool)
    return int(strange[outcomes.labels].sum())


def _share_bounds(outcomes: Outcomes, alpha: float) -> tuple[float, float]:
    return paired.clopper_pearson(int(outcomes.right.sum()), outcomes.rows, alpha / 2)
