"""Would more data help: a pipeline's primary metric over fractions of its training rows, and what twice as many would bring.

What is missing to the best value of the metric falls as a·x^−b + c, x the share of today's training rows. Larger fractions weigh more
in the fit, i of m for the i-th of m (Figueroa et al., Predicting sample size required for classification performance, BMC Medical
Informatics and Decision Making 12:8, 2012), since small ones follow the law least. Its interval is of refits to drawn means: the
validation rows are drawn once for all trainings, and each fraction's mean moves as its seeds' deviation says, or as that of all
fractions where it is larger, since a few seeds may lie close together by luck.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from contender.errors import UsageError
from contender.evaluation.metrics import METRICS
from contender.judging.words import amount, in_sentence
from contender.names import DEFAULT_SEEDS, FEWEST_SEEDS, MOST_SEEDS
from contender.noise import size
from contender.records import Record

if TYPE_CHECKING:
    from contender.evaluation.outcomes import Array

FEWEST_FRACTIONS = 4  # through any three scores there is a law of three parameters, whether or not they follow one
FEWEST_ROWS = 10  # of a fraction: with fewer nothing is learned that more rows could tell of
STEEPEST = 3.0  # exponent; learning curves have shown 0.05 to 1
LITTLE = 1 / 50  # of what is missing to the best value: less is not worth as many rows again, however sure it is
TAILS = (2.5, 97.5)  # per cent: of the 95% intervals

Answer = Literal["yes", "hardly", "cannot be told"]


class Score(Record):
    """The trainings on one fraction of the rows."""

    fraction: float
    rows: int
    models: tuple[str, ...] = Field(description="sha256 over each seed's model files")
    values: tuple[float, ...] = Field(description="of the primary metric on validation, one for each seed")
    mean: float
    sd: float = Field(description="over the seeds, n − 1 in the denominator")
    low: float = Field(description="lower 95% bound of the mean, for the seeds and the validation rows")
    high: float


class Law(Record):
    """What is missing to the best value of the metric: a·x^−b + c at x times today's training rows."""

    a: float
    b: float
    c: float

    def missing(self, share: float) -> float:
        return float(self.a * share**-self.b + self.c)

    @property
    def halved(self) -> float:
        """How much less is missing with twice today's rows."""
        return self.missing(1) - self.missing(2)


class Doubling(Record):
    """What twice today's training rows would bring: an extrapolation."""

    rows: int
    value: float = Field(description="of the metric")
    value_low: float = Field(description="lower 95% bound of the metric, for the seeds and the validation rows")
    value_high: float
    gain: float = Field(description="of the metric, more is better")
    low: float = Field(description="lower 95% bound of the gain")
    high: float


class CurveReport(Record):
    """Scores over fractions of the training rows, and whether more rows would help."""

    pipeline: str
    set: str = "validation"
    validation_rows: int
    rows: int = Field(description="of the whole training set")
    primary: str
    seeds: tuple[int, ...]
    scores: tuple[Score, ...] = Field(description="in the order of their fractions")
    law: Law | None = Field(description="None of fewer than four fractions")
    doubling: Doubling | None
    noise: float = Field(description="2·√2·sd over seeds: a difference of two trainings below it may be the seed")
    little: float = Field(description="a gain of less is little, whatever the noise")
    answer: Answer
    why: str

    @property
    def ends(self) -> tuple[float, float]:
        """Both bounds of the metric with twice the rows; of the last mean where nothing is extrapolated."""
        found = self.doubling
        return (self.scores[-1].low, self.scores[-1].high) if found is None else (found.value_low, found.value_high)

    @property
    def sentence(self) -> str:
        title = in_sentence(self.primary)
        if self.doubling is None:
            return f"Would more data help? It cannot be told: {self.why}."
        found = self.doubling
        bounds = f"95% interval {number(self.primary, found.low)} to {amount(self.primary, found.high)}"
        brings = f"{found.rows:,} training rows, twice as many, would bring about {amount(self.primary, found.gain)} of {title}"
        said = {"yes": "Yes", "hardly": "Hardly", "cannot be told": "It cannot be told"}[self.answer]
        return f"Would more data help? {said}: {brings} ({bounds}); {self.why}."


def number(metric: str, gain: float) -> str:
    """A difference of a metric without its unit, before another that has it."""
    return amount(metric, gain).removesuffix(" points")


def parse_fractions(text: str) -> tuple[float, ...]:
    """The fractions of `--fractions`; errors as of check_fractions, and where one is no number."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    try:
        return check_fractions([float(part) for part in parts])
    except ValueError:
        raise UsageError(
            f"{text!r} are no fractions", "Give numbers between commas, for example 0.1,0.2,0.5,1."
        ) from None


def check_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    """The fractions themselves; UsageError naming what is allowed where they are none to draw a curve with."""
    advice = "Give fractions above 0 and up to 1, each larger than the one before, for example 0.1,0.2,0.5,1."
    if not fractions:
        raise UsageError("there are no fractions", advice)
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UsageError(f"{fraction:g} is no fraction of the training rows", advice)
    for one, other in pairwise(fractions):
        if other <= one:
            what = "given twice" if other == one else f"smaller than {one:g}, which stands before it"
            raise UsageError(f"the fraction {other:g} is {what}", advice)
    return tuple(float(fraction) for fraction in fractions)


def check_seeds(seeds: int) -> int:
    """The number itself; UsageError naming what is allowed."""
    if isinstance(seeds, bool) or not FEWEST_SEEDS <= seeds <= MOST_SEEDS:
        few = f"{seeds} seed{'' if seeds == 1 else 's'} for each fraction show no spread"
        raise UsageError(
            few if seeds < FEWEST_SEEDS else f"{seeds:,} seeds for each fraction are more than a curve needs",
            f"Give a number of seeds from {FEWEST_SEEDS} to {MOST_SEEDS}; {DEFAULT_SEEDS} is the default.",
        )
    return seeds


def check_rows(fractions: Sequence[float], rows: Sequence[int], whole: int) -> None:
    """UsageError where a fraction of the training rows is too small to train on, or holds no row more than the one before it."""
    for place, (fraction, found) in enumerate(zip(fractions, rows, strict=True)):
        if found < FEWEST_ROWS:
            raise UsageError(
                f"the fraction {fraction:g} holds {found:,} of {whole:,} training rows: fewer than {FEWEST_ROWS} teach nothing",
                "Give larger --fractions, or bring more rows.",
            )
        if place and found <= rows[place - 1]:
            raise UsageError(
                f"the fraction {fraction:g} holds the same {found:,} of {whole:,} training rows as {fractions[place - 1]:g}: "
                "there are too few to tell them apart",
                "Give --fractions that lie further apart, or bring more rows or keys.",
            )


def fit(shares: Sequence[float], missing: Array, start: Law | None = None) -> Law | None:
    """The law for what is missing (fractions,) at each share of today's rows; None where no fit is found.

    It never rises, and what it comes to with any number of rows is at or above nothing. `start`: where to search from.
    """
    import warnings

    import numpy as np
    from scipy.optimize import OptimizeWarning, curve_fit

    def law(x: Array, a: float, b: float, c: float) -> Array:
        return np.asarray(a * x**-b + c)

    x, weights = np.asarray(shares), np.arange(1, len(shares) + 1) / len(shares)
    scale = float(np.max(missing)) or 1.0
    begin = (start.a / scale, start.b, start.c / scale) if start else (0.5, 0.5, 0.3)
    begin = tuple(np.clip(begin, 1e-6, (1e3, STEEPEST - 1e-6, 1e3)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of parameters' errors, which nobody asks for
            found, _ = curve_fit(
                law,
                x,
                np.asarray(missing) / scale,
                p0=begin,
                sigma=1 / np.sqrt(weights),
                bounds=((0.0, 0.0, 0.0), (np.inf, STEEPEST, np.inf)),
                max_nfev=2000,
            )
    except RuntimeError:  # it did not settle
        return None
    return Law(a=found[0] * scale, b=found[1], c=found[2] * scale)


def curve_of(
    pipeline: str,
    primary: str,
    span: tuple[float, float],
    whole: int,
    validation_rows: int,
    seeds: Sequence[int],
    fractions: Sequence[float],
    rows: Sequence[int],
    models: Sequence[Sequence[str]],
    values: Array,
    drawn: Array,
) -> CurveReport:
    """The report on `values` (fractions, seeds) and their resamples over the validation rows (fractions, seeds, resamples)."""
    import numpy as np

    sds = np.array([statistics.stdev(one) for one in values.tolist()])  # exactly 0 where seeds move nothing
    weights = np.arange(1, len(values) + 1)
    pooled = math.sqrt(float((weights * sds**2).sum() / weights.sum()))
    moved = np.maximum(sds, pooled)[:, None] / math.sqrt(len(seeds))
    dice = np.random.default_rng(len(values))
    means = drawn.mean(axis=1) + moved * dice.standard_normal((len(values), drawn.shape[2]))
    low, high = np.clip(np.percentile(means, TAILS, axis=1), *span)
    scores = tuple(
        Score(
            fraction=fraction,
            rows=rows[at],
            models=tuple(models[at]),
            values=tuple(values[at].tolist()),
            mean=statistics.fmean(values[at].tolist()),
            sd=float(sds[at]),
            low=float(low[at]),
            high=float(high[at]),
        )
        for at, fraction in enumerate(fractions)
    )
    best, sign = (span[1], -1) if METRICS[primary].higher_is_better else (span[0], 1)
    missing = sign * (values.mean(axis=1) - best)
    law, doubling = None, None
    if len(fractions) >= FEWEST_FRACTIONS:
        law, doubling = _extrapolated(
            [count / whole for count in rows], missing, sign * (means - best), best, sign, 2 * whole
        )
    noise, little = 2 * math.sqrt(2) * pooled, LITTLE * float(missing[-1])
    answer, why = answered(primary, len(fractions), doubling, noise, little)
    return CurveReport(
        pipeline=pipeline, validation_rows=validation_rows, rows=whole, primary=primary, seeds=tuple(seeds),
        scores=scores, law=law, doubling=doubling, noise=noise, little=little, answer=answer, why=why,
    )  # fmt: skip


def _extrapolated(
    shares: Sequence[float], missing: Array, drawn: Array, best: float, sign: int, rows: int
) -> tuple[Law | None, Doubling | None]:
    """The law for what is `missing` (fractions,) to the best value, and where it leads; the intervals from `drawn` (fractions, draws)."""
    import numpy as np

    law = fit(shares, missing)
    if law is None:
        return None, None

    def ahead(one: Law, last: float) -> tuple[float, float]:
        """What is missing with today's rows and with twice as many: from what was measured last on, and never less than nothing."""
        today, later = (max(0.0, last - one.missing(shares[-1]) + one.missing(share)) for share in (1, 2))
        return today, later

    refits = [(one, last) for means, last in zip(drawn.T, drawn[-1], strict=True) if (one := fit(shares, means, law))]
    today, later = ahead(law, missing[-1])
    drawn_today, drawn_later = np.array([ahead(one, last) for one, last in refits or [(law, missing[-1])]]).T
    low, high = np.percentile(drawn_today - drawn_later, TAILS)
    ends = sorted(best + sign * np.percentile(drawn_later, TAILS))
    value = best + sign * later
    return law, Doubling(
        rows=rows,
        value=value,
        value_low=min(ends[0], value),
        value_high=max(ends[1], value),
        gain=today - later,
        low=low,
        high=high,
    )


def answered(
    primary: str, fractions: int, doubling: Doubling | None, noise: float, little: float
) -> tuple[Answer, str]:
    """The answer, and what it rests on."""
    if doubling is None:
        few = f"{fractions} fraction{'' if fractions == 1 else 's'} show no curve; give {FEWEST_FRACTIONS} or more"
        return "cannot be told", few if fractions < FEWEST_FRACTIONS else "the scores follow no power law"
    most = max(noise, little)
    what = f"the {size(primary, noise)} that the seed alone may move a difference of two trainings by"
    if noise < little:
        what = f"{size(primary, little)}, a fiftieth of what is missing to the best value"
    if doubling.gain > noise and doubling.low > little:
        return "yes", f"that is more than {what}"
    if doubling.high <= most:
        return "hardly", f"that is not more than {what}"
    return (
        "cannot be told",
        f"the interval is too wide beside {what}; more --seeds, fractions or validation rows narrow it",
    )


CURVE_COLUMNS = ("fraction", "rows", "mean", "95% bounds", "sd of seeds", "")
DRAWN = 32  # characters of an interval


def curve_rows(report: CurveReport) -> list[tuple[str, ...]]:
    """The curve as a table, and as a drawing that lies on its side: a row for each fraction, and one for twice the rows."""
    found = [
        (f"{one.fraction:g}", one.rows, one.mean, one.low, one.high, size(report.primary, one.sd))
        for one in report.scores
    ]
    if (more := report.doubling) is not None:
        found.append(("2 (fit)", more.rows, more.value, *report.ends, ""))
    low, high = min(one[3] for one in found), max(one[4] for one in found)
    return [
        (name, f"{rows:,}", f"{mean:.4f}", f"{start:.4f} … {end:.4f}", sd, _drawn(mean, start, end, low, high))
        for name, rows, mean, start, end, sd in found
    ]


def _drawn(mean: float, low: float, high: float, least: float, most: float) -> str:
    """An interval and its middle as a line of characters between the least and the most of all."""

    def place(value: float) -> int:
        return round((min(max(value, least), most) - least) / (most - least) * (DRAWN - 1)) if most > least else 0

    cells: list[Any] = [" "] * DRAWN
    cells[place(low) : place(high) + 1] = "─" * (place(high) + 1 - place(low))
    cells[place(mean)] = "●"
    return "".join(cells).rstrip()
