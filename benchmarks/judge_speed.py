"""Seconds and peak memory of the judge's bootstrap, and what drawing blocks of units costs in accuracy.

    python benchmarks/judge_speed.py [--resamples N]          default: 10000; about four minutes on two cores

Each case runs in a process of its own; the peak is the process's largest resident set, less what imports and the outcomes took.
"Plain" takes the rows of each resample and scores them, as one would write it: a few resamples, scaled up to as many. The block
method is measured on 100,000 rows of a skewed log loss, where all units can be drawn too, with several seeds of each.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from contender.evaluation.metrics import metric
from contender.evaluation.outcomes import Outcomes
from contender.judging import draws
from contender.judging.resampling import bootstrap

CLASSES = 77
PER_KEY = 5
ALPHA = 0.0304  # what a first look spends at a confidence of 0.95
PLAIN = 20  # resamples of the plain way
SEEDS = 8
NEAR = 5
CASES = {  # metric, rows, rows per key, classes that a wrong row may be taken for
    "cells": ("f1_macro", 1_000_000, 1, NEAR),
    "many cells": ("f1_macro", 1_000_000, 1, CLASSES - 1),
    "rows": ("log_loss", 100_000, 1, NEAR),
    "bins": ("calibration_error", 100_000, 1, NEAR),
    "keys": ("f1_macro", 100_000, PER_KEY, NEAR),
    "blocks": ("log_loss", 1_000_000, 1, NEAR),
    "class blocks": ("f1_macro", 1_000_000, PER_KEY, NEAR),
}


def models(rows: int, near: int = NEAR) -> tuple[Outcomes, Outcomes]:
    """Two models that are right on 90% of rows and mostly alike; a wrong one takes a class for one of so many near it."""
    chance = np.random.default_rng(1)
    names = [f"label {code}" for code in range(CLASSES)]
    labels = chance.integers(0, CLASSES, rows)

    def predictions() -> draws.Array:
        return np.where(chance.random(rows) < 0.9, labels, (labels + chance.integers(1, near + 1, rows)) % CLASSES)

    def model(predicted: draws.Array, sure: draws.Array) -> Outcomes:
        return Outcomes(names, labels, predicted, {"p_label": sure, "confidence": sure})

    ours = predictions()
    theirs = np.where(chance.random(rows) < 0.8, ours, predictions())
    sure = chance.beta(4, 0.5, rows)
    return model(ours, np.clip(sure * chance.beta(40, 0.4, rows), 1e-4, 1)), model(theirs, np.clip(sure, 1e-4, 1))


def peak() -> float:
    """Mebibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(case: str, resamples: int) -> dict[str, object]:
    name, rows, per_key, near = CASES[case]
    (ours, theirs), keys = models(rows, near), np.arange(rows) // per_key
    measured = metric(name)
    measured.score(ours.take(np.arange(100)))  # imports what it needs
    before, started = peak(), time.perf_counter()
    found = bootstrap(measured, ours, theirs, keys, resamples=resamples)
    took, most = time.perf_counter() - started, peak() - before
    order = np.random.default_rng(2)

    def plain() -> None:
        for _ in range(PLAIN):
            taken = order.integers(0, rows, rows)
            measured.score(ours.take(taken)), measured.score(theirs.take(taken))

    return {
        "method": found.method,
        "units": found.units,
        "seconds": took,
        "mebibytes": most,
        "plain": timed(plain) / PLAIN * resamples,
    }


def block_error(resamples: int) -> dict[str, list[float]]:
    """Standard errors, and p-values at a threshold near the first look's alpha, by units and by blocks; seeds differ."""
    ours, theirs = models(draws.MOST_UNITS)
    found: dict[str, list[float]] = {"unit errors": [], "unit p": [], "block errors": [], "block p": []}
    threshold = None
    for kind, most in (("unit", draws.MOST_UNITS), ("block", 1)):
        draws.MOST_UNITS = most
        for seed in range(SEEDS):
            draws.DEALT = 9_801 + seed
            drawn = bootstrap("log_loss", ours, theirs, seed=seed, resamples=resamples)
            threshold = drawn.bounds(ALPHA)[0] if threshold is None else threshold
            side = drawn._side(1)
            found[f"{kind} errors"].append(drawn.error)
            found[f"{kind} p"].append(side._p(side.centre - threshold))
    return found


def main(resamples: int) -> None:
    console = Console(width=140)
    table = Table("metric", "rows", "rows a key", "method", "units", "s", "peak MiB", "plain s (scaled)", "times")
    for case, (name, rows, per_key, _) in CASES.items():
        got = child(case, resamples)
        figures = [f"{got['seconds']:.1f}", f"{got['mebibytes']:.0f}", f"{got['plain']:,.0f}"]
        faster = f"{got['plain'] / got['seconds']:,.0f}"
        table.add_row(
            f"{name}, {case}", f"{rows:,}", str(per_key), got["method"], f"{got['units']:,}", *figures, faster
        )
    console.print(table)
    got = {kind: np.array(values) for kind, values in child("error", resamples).items()}
    spread = {kind: values.std(ddof=1) / values.mean() for kind, values in got.items()}
    off = got["block errors"].mean() / got["unit errors"].mean() - 1
    console.print(
        f"{draws.BLOCKS:,} blocks beside 100,000 units, log loss, {SEEDS} seeds of {resamples:,} resamples each: the standard error is "
        f"{off:+.2%} of the full one's (spread by seed {spread['unit errors']:.2%} full, {spread['block errors']:.2%} blocks); "
        f"a p-value of {got['unit p'].mean():.4f} (± {got['unit p'].std(ddof=1):.4f}) is "
        f"{got['block p'].mean():.4f} (± {got['block p'].std(ddof=1):.4f})."
    )


def child(case: str, resamples: int) -> dict[str, object]:
    command = [sys.executable, __file__, "--case", case, "--resamples", str(resamples)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--case", choices=[*CASES, "error"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case == "error":
        print(json.dumps(block_error(given.resamples)))
    elif given.case:
        print(json.dumps(measure(given.case, given.resamples)))
    else:
        main(given.resamples)
