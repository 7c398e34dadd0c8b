"""What benchmarks/judge_simulation.py counted, whether it keeps the promise, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.judge_scenarios import CONFIDENCE, Scenario
from benchmarks.simulated import Shape
from contender.judging import paired

CERTAINTY = 0.999  # that no promise is called broken by chance, over all lines of a table


@dataclass
class Result:
    """What came of a scenario. Counts of `trials`; power of `power_trials`."""

    scenario: Scenario
    allowed: float
    trials: int = 0
    false: int = 0
    no_ledger: int = 0
    naive: int = 0
    lives: int = 0
    power: int = 0
    power_trials: int = 0
    seconds: float = 0.0

    def broken(self, lines: int) -> bool:
        return paired.clopper_pearson(self.false, self.trials, (1 - CERTAINTY) / lines)[0] > self.allowed


def rate(count: int, trials: int) -> str:
    """A share with its exact 95% interval."""
    low, high = paired.clopper_pearson(count, trials, 0.025)
    return f"{count / trials:.1%} ({low:.1%}–{high:.1%})"


def table(results: Sequence[Result], judged: str) -> Table:
    columns = ("set", "metric", "rows", "alike", "repeats", f"promoted by luck: {judged}", "allowed")
    found = Table(*columns, "5% a look", "point estimate", "power", "at a gain of")
    for result in results:
        one, trials = result.scenario, result.trials
        power = rate(result.power, result.power_trials) if result.power_trials else ""
        found.add_row(
            one.name,
            one.metric,
            f"{one.shape.rows:,}",
            f"{one.shape.alike:g}",
            f"{trials:,}",
            rate(result.false, trials) + (" BROKEN" if result.broken(len(results)) else ""),
            f"{result.allowed:.2%}",
            f"{result.no_ledger / trials:.1%}",
            f"{result.naive / trials:.1%}",
            power,
            f"{one.gain * 100:g} point{'s' if one.gain != 0.01 else ''}" if power else "",
        )
    return found


def summary(results: Sequence[Result]) -> str:
    kept = sum(not result.broken(len(results)) for result in results)
    of_lives = [result for result in results if result.scenario.life]
    lucky, lived = sum(result.false for result in of_lives), sum(result.trials for result in of_lives)
    worst = max(of_lives, key=lambda result: result.false / result.trials, default=None)
    of_life = (
        f"; promoted by luck in the life of a generation: {lucky / lived:.1%} of all {lived:,}, "
        f"{rate(worst.false, worst.trials)} at worst, {1 - CONFIDENCE:.0%} allowed"
        if worst
        else ""
    )
    naive = [result.naive / result.trials for result in of_lives if result.scenario.life == "fixed"] or [0.0]
    looks = [result.naive / result.trials for result in results if not result.scenario.life] or [0.0]
    known = next((r for r in results if (r.scenario.metric, r.scenario.shape) == ("accuracy", Shape(1_000, 0.5))), None)
    power = (
        f"; power at a true gain of 3 points of accuracy, 1,000 rows: {known.power / known.power_trials:.0%}"
        if known
        else ""
    )
    return (
        f"Promises kept: {kept} of {len(results)}{of_life}; a point estimate promotes by luck: {np.mean(looks):.0%} of single looks, "
        f"{min(naive):.0%} of lives or more{power}."
    )
