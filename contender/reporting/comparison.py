"""Champion and challenger metric by metric, with intervals to look at. The verdict does not rest on these: the judge's tests do."""

from __future__ import annotations

from dataclasses import dataclass

from contender.evaluation.metrics import METRICS
from contender.evaluation.outcomes import from_table
from contender.judging.resampling import bootstrap
from contender.reporting.data import ReportInput

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


def metric_rows(data: ReportInput) -> list[MetricRow]:
    errors = _standard_errors(data)
    floors = {rule.metric: rule.threshold for rule in data.verdict.rules if rule.kind == "floor"}
    return [_row(data, name, errors[name], floors.get(name)) for name in data.metrics]


def _row(data: ReportInput, name: str, error: float, floor: float | None) -> MetricRow:
    facts, champion = METRICS[name], data.champion_judged
    challenger = data.judged.metrics[name]
    other = champion.metrics.get(name) if champion else None
    centre = challenger if other is None else challenger - other
    low, high, level = centre - Z * error, centre + Z * error, "95%"
    rule = data.versus
    if (
        rule
        and (rule.metric, rule.set) == (name, data.on)
        and rule.alpha
        and rule.low is not None
        and rule.high is not None
    ):
        # The judge's own bounds, so that the picture and the verdict say the same; they are of the gain.
        low, high = (rule.low, rule.high) if facts.higher_is_better else (-rule.high, -rule.low)
        level = f"{1 - 2 * rule.alpha:.1%}"
    return MetricRow(
        name, facts.title, facts.percent, facts.higher_is_better, challenger, other, low, high, floor, level
    )


def _standard_errors(data: ReportInput) -> dict[str, float]:
    """Metric → bootstrap standard error of the difference (or of the value), split keys drawn with replacement."""
    ours = from_table(data.outcomes)
    theirs = None if data.champion_outcomes is None else from_table(data.champion_outcomes)
    keys = data.outcomes.column("key").to_numpy()
    return {name: bootstrap(name, ours, theirs, keys, SEED, RESAMPLES).error for name in data.metrics}
