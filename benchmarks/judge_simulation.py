"""Whether the judge keeps its promise, on simulated models whose true difference is known.

    python -m benchmarks.judge_simulation [--quick] [--jobs N] [--seed N] [--json FILE] [--judge contender|no-ledger|no-keys|naive]

The promise: with no true difference, the chance that any challenger of a generation's whole life is promoted is below 1 − confidence,
and at a single look below the look's alpha. Every line of the table is a kind of held-out set, judged many times over; a life is 50
retrains, each against the champion of its time, at looks that the product's ledger dealt out. Beside the promise: a judge without a
ledger (5% at each look), a point estimate (promote what measures higher), and the power at a true gain.

A promotion counts where `contender.judging.judge` says PROMOTE (of the word error rate, which no pipeline can name yet: where the
product's bootstrap shows a gain). Cases that are far from one are sorted out before, by the same exact tests, or by the same
bootstrap with fewer resamples; so is the power counted.

Exit code 1: a promise is broken, the lower bound of a line's rate being above what is allowed at a confidence of 99.9% over all lines
(Clopper and Pearson, Bonferroni). `--judge` puts a broken judge in its place, which must be found out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
from rich.console import Console

from benchmarks.judge_scenarios import CONFIDENCE, Scenario, scenarios
from benchmarks.judge_table import Result, summary, table
from benchmarks.simulated import Answers, Array, WordErrorRate, answers
from contender.evaluation.metrics import metric as metric_named
from contender.evaluation.outcomes import Outcomes
from contender.judging import paired
from contender.judging.evidence import Counts, Exact, Sampled, count_signs
from contender.judging.held_out import HeldOut
from contender.judging.judge import enough, judge
from contender.judging.resampling import bootstrap
from contender.judging.spending import alpha_of
from contender.registry import Registry
from contender.registry.ledger import Comparison
from contender.store.memory import MemoryStore
from contender.verdict import Look

LIFE = 50  # retrains
BEGIN = 500  # resamples of a bootstrap that is not the verdict
RISES = (5, 15, 25, 35, 45)  # retrains from which challengers are truly better, in a life that improves
# verdict: a promotion is one of `contender.judging.judge`; tests: what the product's tests say, a bootstrap's with few resamples.
How = Literal["verdict", "tests"]
JUDGES = ("contender", "no-ledger", "no-keys", "naive")

WER = WordErrorRate()
METRICS = {"accuracy": metric_named("accuracy"), "f1_macro": metric_named("f1_macro"), "word_errors": WER}


@dataclass(frozen=True)
class Case:
    """One comparison. alpha: what its look may spend."""

    scenario: Scenario
    ours: Outcomes
    theirs: Outcomes
    keys: Array
    look: Look

    @property
    def gain(self) -> float:
        measured = METRICS[self.scenario.metric]
        gain = measured.score(self.ours) - measured.score(self.theirs)
        return gain if measured.higher_is_better else -gain


def promotes(case: Case, name: str, how: How = "verdict") -> bool:
    """Whether a judge promotes."""
    if not case.gain > case.scenario.threshold:
        return False  # every test's p-value is at least a half
    if name == "naive":
        return True
    if name == "no-ledger":
        case = replace(case, look=case.look.model_copy(update={"alpha": 1 - CONFIDENCE}))
    if name == "no-keys":
        case = replace(case, keys=np.arange(len(case.keys), dtype=np.uint64))
    shown = _shown(case, how)
    return _judged(case) if shown and how == "verdict" else shown


def _shown(case: Case, how: How) -> bool:
    """Whether the tests show a gain; for a verdict also where more resamples might say so."""
    alpha, threshold = case.look.alpha, case.scenario.threshold
    if case.scenario.metric == "accuracy":
        signs = count_signs(case.ours, case.theirs, case.keys)
        if signs.units == len(case.keys):
            return _exact(signs.better, signs.worse, signs.units, threshold) <= alpha
        if not threshold and paired.mcnemar(signs.better, signs.worse) > alpha:
            return False
    sample = bootstrap(METRICS[case.scenario.metric], case.ours, case.theirs, case.keys, resamples=BEGIN)
    side = sample._side(1)
    return side._p(side.centre - threshold) <= alpha or (how == "verdict" and side.open(threshold, alpha))


@cache
def _exact(better: int, worse: int, units: int, threshold: float) -> float:
    return Exact(Counts(better, worse, units)).p_above(threshold, 0.05)


def _judged(case: Case) -> bool:
    if case.scenario.metric == "word_errors":
        sample = Sampled(bootstrap(WER, case.ours, case.theirs, case.keys))
        return sample.p_above(case.scenario.threshold, case.look.alpha) <= case.look.alpha
    tables = [_table(model, case.keys) for model in (case.ours, case.theirs)]
    held = HeldOut(*tables, look=case.look, keys=np.unique(case.keys))
    found = judge(
        case.scenario.rules, {"test": held}, judged_against=1, champion_release="champion", release="challenger"
    )
    return found.verdict == "PROMOTE"


def _table(model: Outcomes, keys: Array) -> pa.Table:
    names = np.array(model.names)
    return pa.table({"key": keys, "label": names[model.labels], "prediction": names[model.predictions]})


def single_looks(scenario: Scenario, judged: str, chance: np.random.Generator) -> Result:
    """First looks at fresh sets: challengers whose true gain is just the threshold, then such as truly gain."""
    alpha = alpha_of(1, CONFIDENCE)
    result = Result(scenario, alpha)
    look = Look(set="test", generation=1, look=1, alpha=alpha, spent=alpha / (1 - CONFIDENCE), units=1)

    def case(gain: float) -> Case:
        found = answers(scenario.metric, scenario.shape, 2, chance)
        return Case(scenario, found.of(1, gain, scenario.kind), found.of(0), found.keys, look)

    for _ in range(scenario.repeats):
        one = case(scenario.threshold)
        result.trials += 1
        result.false += promotes(one, judged)
        result.no_ledger += promotes(one, "no-ledger", "tests")
        result.naive += promotes(one, "naive")
    for _ in range(scenario.power_repeats):
        result.power_trials += 1
        result.power += promotes(case(scenario.gain), judged, "tests")
    return result


@cache
def dealt(scenario: Scenario) -> list[tuple[Look, Array]]:
    """The looks of a life and the keys that each judges, from the product's ledger: outcomes do not move them.

    A growing set begins with a tenth of its keys.
    """
    registry, rules = Registry(MemoryStore(), "life"), scenario.rules
    count = scenario.shape.rows // scenario.shape.per_key
    looks = []
    for number in range(1, LIFE + 1):
        there = round(count * (0.1 + 0.9 * number / LIFE)) if scenario.growing else count
        comparison = Comparison(f"challenger {number}", "champion", f"set of {there}", "rule")
        keys = np.arange(there, dtype=np.uint64)
        taken = registry.look("test", comparison, keys, CONFIDENCE, lambda units: enough(rules, "test", units))
        looks.append((taken.look, taken.keys))
    return looks


def lives(scenario: Scenario, judged: str, chance: np.random.Generator) -> Result:
    """Whole lives. Allowed is 1 − confidence of each generation, whatever came before it: trials are generations."""
    result = Result(scenario, 1 - CONFIDENCE, lives=scenario.repeats)
    looks = dealt(replace(scenario, repeats=0))
    rows = np.arange(scenario.shape.rows, dtype=np.uint64)  # their keys, too, where a set grows
    masks = [np.isin(rows, keys) if scenario.growing else None for _, keys in looks]
    generations = len({look.generation for look, _ in looks})
    rises = RISES if scenario.life.endswith("improving") else ()
    for _ in range(scenario.repeats):
        found = answers(scenario.metric, scenario.shape, LIFE + 1, chance)
        false, rose = one_life(scenario, found, looks, masks, rises, judged)
        result.trials += generations
        result.false += len(false)
        for other in ("no_ledger", "naive"):
            blind, _ = one_life(scenario, found, looks, masks, rises, other.replace("_", "-"), "tests")
            setattr(result, other, getattr(result, other) + len(blind))
        if rises:
            result.power_trials += 1
            result.power += rose
    return result


def one_life(
    scenario: Scenario,
    found: Answers,
    looks: Sequence[tuple[Look, Array]],
    masks: Sequence[Array | None],
    rises: Sequence[int],
    judged: str,
    how: How = "verdict",
) -> tuple[set[int], bool]:
    """The generations in which a challenger that is not better was promoted, and whether the first rise was live before the second."""
    gain_of = [scenario.gain * sum(number >= rise for rise in rises) for number in range(LIFE + 1)]
    false: set[int] = set()
    champion, rose = 0, False
    theirs = found.of(0, gain_of[0])
    for number, ((look, _), mask) in enumerate(zip(looks, masks, strict=True), start=1):
        better = gain_of[number] > gain_of[champion]
        if look.generation in false and not rises:
            continue  # it is broken already
        if found.metric == "accuracy" and not _promising(found, mask, number, champion, gain_of, look, judged):
            continue
        ours = found.of(number, gain_of[number])
        pair = (ours, theirs) if mask is None else (ours.take(mask), theirs.take(mask))
        keys = found.keys if mask is None else found.keys[mask]
        if promotes(Case(scenario, *pair, keys, look), judged, how):
            false |= set() if better else {look.generation}
            rose |= better and number < RISES[1]
            champion, theirs = number, ours
    return false, rose


def _promising(
    found: Answers, mask: Array | None, number: int, champion: int, gain_of: Sequence[float], look: Look, judged: str
) -> bool:
    """Accuracy of a life, fast: False where less is right, or where the exact test of single rows says no."""
    ours, theirs = found.right(number, gain_of[number]), found.right(champion, gain_of[champion])
    if mask is not None:
        ours, theirs = ours[mask], theirs[mask]
    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if better <= worse or judged == "naive":
        return better > worse
    alpha = look.alpha if judged == "contender" else 1 - CONFIDENCE
    return found.clustered or _exact(better, worse, len(ours), 0.0) <= alpha


def simulate(
    wanted: Sequence[Scenario], judged: str, seed: int, told: Callable[[str], None], jobs: int = 1
) -> list[Result]:
    """Every scenario, each with random numbers of its own: how many work at once changes no count."""
    found: list[Result] = []
    several = [wanted, [judged] * len(wanted), [seed] * len(wanted)]
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        for result in (pool.map if pool else map)(count, *several):
            found.append(result)
            of = result.scenario
            told(f"{len(found)}/{len(wanted)} {of.name}, {of.metric}, {of.shape.rows} rows: {result.seconds:.0f} s")
    return found


def count(scenario: Scenario, judged: str, seed: int) -> Result:
    started = time.process_time()
    chance = np.random.default_rng([seed, zlib.crc32(repr(replace(scenario, repeats=0)).encode())])
    result = (lives if scenario.life else single_looks)(scenario, judged, chance)
    result.seconds = time.process_time() - started
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats, in about a minute")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once; they change no count")
    parser.add_argument("--json", type=Path, help="where every count goes")
    parser.add_argument(
        "--judge", choices=JUDGES, default="contender", help="a broken judge, to see that it is found out"
    )
    given = parser.parse_args()
    results = simulate(
        scenarios(0.1 if given.quick else 1.0),
        given.judge,
        given.seed,
        lambda text: print(text, file=sys.stderr),
        given.jobs,
    )
    Console(width=190).print(table(results, given.judge))
    if given.json:
        lines = [asdict(result) | {"broken": result.broken(len(results))} for result in results]
        given.json.write_text(json.dumps({"judge": given.judge, "seed": given.seed, "lines": lines}, indent=1))
    print(summary(results))
    return int(any(result.broken(len(results)) for result in results))


if __name__ == "__main__":
    sys.exit(main())
