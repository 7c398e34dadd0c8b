"""What the seed alone moves: the spread of a pipeline's metrics over trainings that differ in nothing else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from pydantic import Field

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS
from contender.judging.words import in_sentence
from contender.names import DEFAULT_RUNS, FEWEST_RUNS, MOST_RUNS
from contender.records import Record, digest

SURE = 0.95  # of the bounds of a standard deviation


class Trial(Record):
    """One training with one seed, and what its model came to on the set that the pipeline is judged on."""

    seed: int
    model: str = Field(description="sha256 over the model's files, as a release of it would have")
    metrics: dict[str, float]
    rows: int
    precision: str = Field(description="of the training")
    trained_on: str = Field(description="kind of device")
    device: str = Field(description="kind of device that it was evaluated on")
    dtype: str
    outcomes: str = Field(description="file of the model's outcomes, in the workspace")


class Spread(Record):
    """One metric over all seeds."""

    values: tuple[float, ...] = Field(description="one for each seed, in their order")
    mean: float
    sd: float = Field(description="standard deviation of one training, n − 1 in the denominator")
    sd_low: float = Field(description="lower 95% bound of the deviation, were the values normally distributed")
    sd_high: float
    low: float
    high: float
    band: float = Field(description="2·√2·sd: a difference of two trainings below it may be the seed")


class NoiseReport(Record):
    """The spread over seeds; kept in the registry, create-only, under a key over all that was trained."""

    key: str
    pipeline: str
    set: str = Field(description="the set that the pipeline is judged on")
    rows: int = Field(description="of that set")
    primary: str
    seeds: tuple[int, ...]
    models: tuple[str, ...] = Field(description="digest of each seed's model files")
    spreads: dict[str, Spread] = Field(description="metric → spread")
    split: dict[str, str] = Field(description="set → digest: train, validation and the set that was judged on")
    base: str = Field(description="digest of the base model")
    versions: dict[str, str]
    device: str = Field(description="kind of device that the models were evaluated on")
    dtype: str
    precision: str = Field(description="of the trainings")
    trained_on: str = Field(description="kind of device of the trainings")
    at: str = Field(description="UTC, ISO 8601")

    @property
    def runs(self) -> int:
        return len(self.seeds)

    @property
    def distinct(self) -> int:
        """How many of the models differ in their bytes."""
        return len(set(self.models))

    def band(self, metric: str, on: str) -> float | None:
        """Half the width of what the seed may move a difference of two trainings by; None where that was not measured."""
        return self.spreads[metric].band if on == self.set and metric in self.spreads else None

    @property
    def sentence(self) -> str:
        spread, title = self.spreads[self.primary], in_sentence(self.primary)
        if self.distinct == 1:
            return (
                f"All {self.runs} seeds end in the same model, byte by byte: the seed moves nothing here, and whatever differs between "
                "two trainings comes from something else."
            )
        if spread.sd == 0:
            return (
                f"The {self.runs} seeds end in {self.distinct} different models that all have the same {title} on "
                f"{self.rows:,} rows: what the seed moves is too small to be seen there."
            )
        some = f" Only {self.distinct} of the {self.runs} models differ." if self.distinct < self.runs else ""
        return (
            f"Seeds alone move {title} by {size(self.primary, spread.sd)} (standard deviation over {self.runs} runs); a difference "
            f"between two trainings below {size(self.primary, spread.band)} (2·√2·sd) may be the seed.{some}"
        )


def check_runs(runs: int) -> int:
    """The number itself; UsageError naming what is allowed where it is none to measure a spread with."""
    if isinstance(runs, bool) or not FEWEST_RUNS <= runs <= MOST_RUNS:
        raise UsageError(
            f"{runs} runs show no spread" if runs < FEWEST_RUNS else f"{runs:,} runs are more than a spread needs",
            f"Give a number of runs from {FEWEST_RUNS} to {MOST_RUNS}; {DEFAULT_RUNS} is the default.",
        )
    return runs


def spread(values: Sequence[float]) -> Spread:
    """Of two values or more, finite ones. Bounds of the deviation: chi-square with n − 1 degrees of freedom."""
    from scipy.special import chdtri

    free, sd = len(values) - 1, statistics.stdev(values)
    low, high = (sd * math.sqrt(free / float(chdtri(free, tail))) for tail in ((1 - SURE) / 2, (1 + SURE) / 2))
    return Spread(
        values=tuple(values),
        mean=statistics.fmean(values),
        sd=sd,
        sd_low=low,
        sd_high=high,
        low=min(values),
        high=max(values),
        band=2 * math.sqrt(2) * sd,
    )


def noise_key(inputs: dict[str, object]) -> str:
    """Of what was trained and how it was measured: the same inputs are the same record."""
    return digest(inputs)[:32]


def size(metric: str, number: float) -> str:
    """How far something moves, to two digits where it is little: 0.6 points, 0.042 points, 0.0123."""
    percent = METRICS[metric].percent
    scaled = number * 100 if percent else number
    decimals = 1 if percent else 4
    if 0 < scaled < 10.0**-decimals * 5:  # half of the last digit would be all that there is
        decimals = 1 - math.floor(math.log10(scaled))
    return f"{scaled:.{decimals}f}{' points' if percent else ''}"
