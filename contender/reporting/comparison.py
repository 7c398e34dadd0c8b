"""Champion and challenger metric by metric, with intervals to look at. The verdict does not rest on these: the judge's tests do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS, metric
from contender.evaluation.outcomes import from_table
from contender.judging.resampling import bootstrap
from contender.records import RuleResult, SetEvaluation, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

RESAMPLES = 200  # enough for a standard error within 5%
Z = 1.959964  # both ends of a 95% normal interval
SEED = 20_170  # fixed: the same outcomes give the same page


@dataclass(frozen=True)
class MetricRow:
    """One metric of both models on the set that decides, with the bounds of an interval."""

    name: str
    title: str
    percent: bool
    higher_is_better: bool
    challenger: float
    champion: float | None
    low: float  # of the difference, or of the challenger where there is no champion
    high: float
    floor: float | None
    level: str

    @property
    def difference(self) -> float | None:
        return None if self.champion is None else self.challenger - self.champion

    @property
    def gain(self) -> str:
        """better, worse or unclear: whether the interval lies on one side of no difference."""
        if self.champion is None or self.low <= 0 <= self.high:
            return "unclear"
        return "better" if (self.low > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Pair:
    """Both models on one set: their metrics, and the outcomes that these are of; no champion where nothing was ever promoted."""

    challenger: SetEvaluation
    champion: SetEvaluation | None
    outcomes: pa.Table
    champion_outcomes: pa.Table | None


def compared(pair: Pair, verdict: Verdict, metrics: Sequence[str]) -> list[MetricRow]:
    """The metrics on the pair's set; the judge's own bounds where it drew some, so that no page says another thing than the verdict."""
    alike = _comparable(pair, metrics)
    errors = _standard_errors(pair, metrics, alike)
    on = pair.challenger.set
    floors = {rule.metric: rule.threshold for rule in verdict.rules if (rule.kind, rule.set) == ("floor", on)}
    drawn = {rule.metric: rule for rule in reversed(verdict.rules) if (rule.kind, rule.set) == ("comparison", on)}
    return [_row(pair, name, errors[name], floors.get(name), drawn.get(name), name in alike) for name in metrics]


def _row(
    pair: Pair, name: str, error: float, floor: float | None, rule: RuleResult | None, comparable: bool
) -> MetricRow:
    facts = METRICS[name]
    challenger = pair.challenger.metrics[name]
    other = pair.champion.metrics.get(name) if pair.champion and comparable else None
    centre = challenger if other is None else challenger - other
    low, high, level = centre - Z * error, centre + Z * error, "95%"
    if rule and rule.alpha and rule.low is not None and rule.high is not None:
        # They are of the gain.
        low, high = (rule.low, rule.high) if facts.higher_is_better else (-rule.high, -rule.low)
        level = f"{1 - 2 * rule.alpha:.1%}"
    return MetricRow(
        name, facts.title, facts.percent, facts.higher_is_better, challenger, other, low, high, floor, level
    )


def _comparable(pair: Pair, metrics: Sequence[str]) -> set[str]:
    """Those of the metrics whose values of both models are in the same units."""
    if pair.champion_outcomes is None:
        return set(metrics)
    models = from_table(pair.outcomes), from_table(pair.champion_outcomes)
    found = set()
    for name in metrics:
        with suppress(UsageError):
            metric(name).check_comparable(*models)
            found.add(name)
    return found


def _standard_errors(pair: Pair, metrics: Sequence[str], comparable: Collection[str]) -> dict[str, float]:
    """Metric → bootstrap standard error of the difference (or of the value), split keys drawn with replacement."""
    ours = from_table(pair.outcomes)
    theirs = None if pair.champion_outcomes is None else from_table(pair.champion_outcomes)
    keys = pair.outcomes.column("key").to_numpy()
    beside = {name: theirs if name in comparable else None for name in metrics}
    return {name: bootstrap(name, ours, other, keys, SEED, RESAMPLES).error for name, other in beside.items()}
