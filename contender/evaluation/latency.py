"""How long an answer takes: one example at a time, on this machine, both models in turn.

Each example is given to both models, one right after the other, the order alternating: whatever else the machine does slows both, and
what the second one finds warm in a cache helps each as often. All bounds and tests rest on ranks alone, so that neither a skewed
distribution nor an outlier of a second moves them: order statistics for a quantile (Hahn and Meeker, Statistical Intervals, 5.2), the
exact sign test and its interval for the paired ratio.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.special import betainc

from contender.errors import DataError
from contender.evaluation.evaluate import read_columns
from contender.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.kinds.base import Model
    from contender.records import ReleaseManifest

Array = np.ndarray[Any, np.dtype[Any]]
Example = dict[str, Any]

EXAMPLES = 200
SECONDS = 30.0
GLANCE = (100, 2.0)  # examples and seconds where nothing is judged by it: 72 give the 95th percentile both bounds
FEWEST, PATIENCE = 20, 5  # examples that a slow or busy machine gets more time for: so many times as much
WARM_UP = 10  # examples that nobody times: allocators, kernels chosen by measuring, caches of the processor
SEED = 20_171  # fixed: the same set gives the same examples
LEVEL = 0.95


class Quantile(Record):
    """A quantile in milliseconds, with bounds that hold whatever the distribution; None where there are too few examples for one."""

    ms: float
    low: float | None
    high: float | None


class Latency(Record):
    """Answers to one example at a time. `ratio` is challenger to champion: 2 is twice as slow."""

    examples: int
    challenger_median: Quantile
    challenger_p95: Quantile
    champion_median: Quantile | None = None
    champion_p95: Quantile | None = None
    ratio: float | None = Field(default=None, description="median of the ratios of one example's two answers")
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = Field(default=None, description="one-sided, of: the challenger is no slower")
    level: float = Field(description="confidence of every pair of bounds")
    device: str = Field(description="what it was measured on")
    hardware: dict[str, str] = Field(default={}, description="of the machine: processor, cores, memory, GPU")


def draw_examples(
    rows: Path, reads: Sequence[str], models: Sequence[ReleaseManifest], count: int = EXAMPLES, seed: int = SEED
) -> list[list[Example]]:
    """For each model, up to `count` rows of a row file, drawn without repetition, as its manifest names the columns.

    `reads`: columns of the row file that a model answers from. DataError where the file has no rows.
    """
    table = read_columns(rows, reads)
    if not table.num_rows:
        raise DataError(f"{rows.name} has no rows to time a model on", "Hold more out, or bring more data.")
    drawn = np.random.default_rng(seed).choice(table.num_rows, min(count, table.num_rows), replace=False)
    chosen = table.take(drawn).to_pylist()
    return [[{one.columns.get(name, name): row[name] for name in reads} for row in chosen] for one in models]


def time_models(
    models: Sequence[Model],
    examples: Sequence[Sequence[Example]],
    seconds: float = SECONDS,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[int, list[float]]:
    """Milliseconds of each answer, by the place of the model; `examples` has a list for each model, of the same rows.

    Ends behind a whole example once `seconds` are over; with fewer than FEWEST, once PATIENCE times as many are, and with one at
    least. `clock` counts nanoseconds.
    """
    for model, own in zip(models, examples, strict=True):
        model.warm_up()
        for example in own[:WARM_UP]:
            model.predict([example], batch_size=1)
    times: dict[int, list[float]] = {place: [] for place in range(len(models))}
    order = list(times)
    began = clock()
    with _no_collections():
        for row in range(len(examples[0])):
            for place in order if row % 2 == 0 else reversed(order):
                started = clock()
                models[place].predict([examples[place][row]], batch_size=1)
                times[place].append((clock() - started) / 1e6)
            if clock() - began >= seconds * 1e9 * (1 if row + 1 >= FEWEST else PATIENCE):
                break
    return times


def timings_table(times: dict[int, list[float]]) -> pa.Table:
    """Columns challenger and, where there is one, champion: float64 milliseconds (examples,)."""
    import pyarrow as pa

    names = ("challenger", "champion")
    return pa.table({names[place]: pa.array(values, pa.float64()) for place, values in times.items()})


def summarise(
    timings: pa.Table, device: str, level: float = LEVEL, hardware: Mapping[str, str] | None = None
) -> Latency:
    """What a table of timings says; a pure function, so that whoever kept the table can ask again."""
    ours = column(timings, "challenger")
    theirs = column(timings, "champion") if "champion" in timings.column_names else None
    found: dict[str, Any] = {
        "challenger_median": quantile(ours, 0.5, level),
        "challenger_p95": quantile(ours, 0.95, level),
    }
    if theirs is not None:
        ratio = quantile(ours / theirs, 0.5, level)
        found |= {
            "champion_median": quantile(theirs, 0.5, level),
            "champion_p95": quantile(theirs, 0.95, level),
            "ratio": ratio.ms,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "p_value": p_slower(ours, theirs),
        }
    return Latency(examples=len(ours), level=level, device=device, hardware=dict(hardware or {}), **found)


def column(timings: pa.Table, name: str) -> Array:
    """One model's milliseconds (examples,)."""
    return np.asarray(timings.column(name).to_numpy(), np.float64)


def quantile(values: Array, share: float, level: float = LEVEL) -> Quantile:
    """The quantile of what `values` (n,) were drawn from, each bound at (1 − level)/2: order statistics around it.

    With B ~ Binomial(n, share), the k-th smallest value is above the quantile with probability P(B ≤ k − 1).
    """
    ordered, tail, n = np.sort(values), (1 - level) / 2, len(values)
    below = [k for k in range(1, n + 1) if _at_most(k - 1, n, share) <= tail]
    above = [k for k in range(1, n + 1) if _at_most(k - 1, n, share) >= 1 - tail]
    return Quantile(
        ms=float(np.quantile(ordered, share)),
        low=float(ordered[below[-1] - 1]) if below else None,
        high=float(ordered[above[0] - 1]) if above else None,
    )


def milliseconds(number: float) -> str:
    """To three digits, and no exponent for what takes seconds."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def p_slower(ours: Array, theirs: Array, times: float = 1.0) -> float:
    """One-sided exact sign test of "an answer of ours takes at most `times` as long as theirs"; both (examples,), paired.

    Small where ours is slower by more than that. Equal timings say nothing, and are left out.
    """
    differences = ours - times * theirs
    slower, differing = int((differences > 0).sum()), int((differences != 0).sum())
    return _at_least(slower, differing, 0.5)


def p_above(values: Array, share: float, most: float) -> float:
    """One-sided exact test of "the quantile is at most `most` milliseconds": at most 1 − share of all answers take longer.

    Small where it is above; values (examples,).
    """
    return _at_least(int((values > most).sum()), len(values), 1 - share)


def _at_least(count: int, trials: int, share: float) -> float:
    """P(Binomial(trials, share) ≥ count)."""
    return 1.0 if count <= 0 else float(betainc(count, trials - count + 1, share))


def _at_most(count: int, trials: int, share: float) -> float:
    """P(Binomial(trials, share) ≤ count)."""
    return 1.0 if count >= trials else 1.0 - float(betainc(count + 1, trials - count, share))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Inside, no garbage collection falls into one model's answer."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
