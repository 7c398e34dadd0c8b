"""The champion on labelled rows that are new to it: what one look at them finds, how far they drifted, and when it is too bad.

A row is scored before it trains anything, and once: what the series says is how good a model was on what it had not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from contender.canonical import Record
from contender.names import METRIC_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.triggers import Degradation

LEVEL = 0.95  # of every pair of bounds, and of what chance alone gives
DRAWS = 200  # samples that tell what chance alone gives: its 95% point within a few hundredths of itself
SEED = 20_172  # fixed: the same rows give the same record


class Drift(Record):
    """Jensen-Shannon distances, from 0 to 1, to the shares of the labels in the champion's data."""

    labels: float = Field(description="of these rows' labels")
    predictions: float = Field(description="of what the champion predicted for them")
    by_chance: float = Field(description="what 95 of 100 samples of so many rows stay below where nothing has drifted")

    @property
    def is_more_than_chance(self) -> bool:
        return max(self.labels, self.predictions) > self.by_chance


class Monitored(Record):
    """What scoring new rows without a run came to."""

    degraded: str | None = Field(default=None, description="why a run is due")
    refused: str | None = Field(default=None, description="why the rows could not be scored")


class Observation(Record):
    """The champion on the rows that were new to it in one snapshot; an entry of the pipeline's monitoring series."""

    n: int = Field(ge=1)
    alias: str
    alias_entry: int
    champion: str = Field(description="the release that was live")
    champion_digest: str
    snapshot: str
    rows: int = Field(description="that were scored, no two with the same split key and text")
    primary: str = Field(description="the metric that the pipeline is judged by")
    metrics: dict[str, float]
    bounds: tuple[float, float] | None = Field(
        default=None, description="95% bounds of the primary metric; none for too few rows"
    )
    unknown_labels: int = Field(description="rows with a label that the champion does not know; they count as wrong")
    confidence: float | None = Field(
        description="mean probability of what it predicted; none where the kind of task gives none"
    )
    drift: Drift | None = Field(default=None, description="none where the release does not say what it trained on")
    outcomes: str = Field(description="sha256 of the file with the rows' outcomes")
    at: str = Field(description="UTC, ISO 8601")

    @model_validator(mode="after")
    def _readable(self) -> Observation:
        if self.primary not in METRIC_NAMES or self.primary not in self.metrics:
            raise ValueError(f"has no value of a metric {self.primary!r}")
        return self

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        _, champion, rows, metric, found, bounds, drift, unknown = self.row
        parts = [f"{champion} on {rows} rows new to it: {metric} {found}{f' ({bounds})' if bounds else ''}"]
        parts += [f"drift {drift}"] if drift else []
        parts += [f"{unknown} rows with a label that it does not know"] if self.unknown_labels else []
        return "; ".join(parts)

    @property
    def row(self) -> tuple[str, ...]:
        """As a row of a table; columns as COLUMNS."""
        from contender.judging.words import in_sentence, value

        drift = self.drift
        return (
            self.at[:16].replace("T", " "),
            self.champion,
            f"{self.rows:,}",
            in_sentence(self.primary),
            value(self.primary, self.metrics[self.primary]),
            " to ".join(value(self.primary, bound) for bound in self.bounds or ()),
            f"{drift.labels:.2f}, predicted {drift.predictions:.2f}, by chance {drift.by_chance:.2f}" if drift else "",
            f"{self.unknown_labels:,}",
        )


COLUMNS = ("when (UTC)", "champion", "rows", "metric", "value", "95% bounds", "drift of labels", "unknown labels")


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Label → share of all labels, which are as many as rows where each has one."""
    every = sum(counts.values())
    return {label: count / every for label, count in counts.items()}


def distance(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Jensen-Shannon distance with base 2: 0 for the same shares, 1 for labels that have nothing in common.

    J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 37:145–151 (1991).
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    labels = sorted({*before, *after})
    pair = np.array([[side.get(label, 0.0) for label in labels] for side in (before, after)])
    found = float(jensenshannon(*pair, base=2))
    return found if found == found else 0.0  # rounding below zero, whose root is NaN, where both are the same


def drift_of(
    before: Mapping[str, float], labels: Mapping[str, float], predictions: Mapping[str, float], rows: int
) -> Drift:
    """How far the shares of labels and predictions of so many rows are from those before."""
    return Drift(
        labels=distance(before, labels), predictions=distance(before, predictions), by_chance=by_chance(before, rows)
    )


def by_chance(before: Mapping[str, float], rows: int) -> float:
    """The distance that a sample of so many rows with the very same shares stays below in 95 of 100 cases."""
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    expected = np.array([before[label] for label in sorted(before)], np.float64)
    expected /= expected.sum()
    samples = np.random.default_rng(SEED).multinomial(rows, expected, size=DRAWS) / rows
    found = np.nan_to_num(jensenshannon(samples, expected[None, :], base=2, axis=1))
    return float(np.quantile(found, LEVEL))


def degraded(
    rule: Degradation,
    metric: str,
    champion_digest: str,
    series: Sequence[Observation],
    outcomes_of: Callable[[Observation], pa.Table],
) -> str | None:
    """Why the champion is worse than the rule's bound on the newest rows that were new to it; None where it is not, or who knows.

    The newest observations of this champion are taken until they have `min_rows` rows, and the metric is computed over all of
    their rows together, whichever it is.
    """
    newest = _newest(series, champion_digest, rule.min_rows)
    if not newest:
        return None
    import pyarrow as pa

    from contender.evaluation.metrics import METRICS, compute
    from contender.judging.words import facts, value

    outcomes = pa.concat_tables([outcomes_of(observation) for observation in newest])
    found = compute(outcomes, [metric])[metric]
    higher = METRICS[metric].higher_is_better
    if (found >= rule.bound) if higher else (found <= rule.bound):
        return None
    return (
        f"{facts(metric).title} of the champion {newest[0].champion} on the newest {outcomes.num_rows:,} labelled rows that were new "
        f"to it is {value(metric, found)}, {'below' if higher else 'above'} the bound of {value(metric, rule.bound)}"
    )


def _newest(series: Sequence[Observation], champion_digest: str, min_rows: int) -> list[Observation]:
    """The newest observations of one champion, the newest first, that together have so many rows; none where all have fewer."""
    taken: list[Observation] = []
    rows = 0
    for observation in reversed(series):
        if observation.champion_digest == champion_digest:
            taken.append(observation)
            rows += observation.rows
            if rows >= min_rows:
                return taken
    return []
