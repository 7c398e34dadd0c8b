"""`make faults N=50 SEED=17`: kills a small pipeline N times, at named points and random moments, and says what was wrong.

    python -P -m fault_campaign [N] [--seed S] [--point NAME]… [--list] [--folder DIR] [--keep]

Draws every named point once before any comes again, and one scenario in five from the clock. The same seed draws the same
scenarios. Prints a line for each as it goes, a table, and a summary; exit code 1 where anything was wrong, whose folder is kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fault_lab import Lab, Start
from fault_points import BY_NAME, POINTS, Point
from fault_scenario import Kill, Moment, Outcome, Scenario, run_scenario
from rich.console import Console
from rich.table import Table

from deployments.server import client_environment, ensure_server, stop_server


def drawn(count: int, seed: int) -> Iterator[Scenario]:
    """`count` scenarios; which ones depends on the seed alone."""
    dice = random.Random(seed)
    deck: list[Point] = []
    for number in range(count):
        if number % 5 == 4:
            start: Start = dice.choice(["first", "champion"])
            shares = sorted(dice.uniform(0.05, 0.9) for _ in range(dice.choice([1, 1, 2])))
            kills: tuple[Kill, ...] = tuple(Moment(share, dice.choice(["tree", "process"])) for share in shares)
            yield Scenario(start, kills, at_once=dice.random() < 0.5)
            continue
        if not deck:
            deck = dice.sample(POINTS, len(POINTS))
        point = deck.pop()
        yield of_points(
            point, *_later(point, dice), start=dice.choice(["first", "champion"]), at_once=dice.random() < 0.25
        )


def of_points(*points: Point, start: Start = "first", at_once: bool = False, damage: bool = False) -> Scenario:
    """A scenario of named points, from a start where they can be reached."""
    if any(point.champion for point in points):
        start = "champion"
    if any(point.bare for point in points):
        start = "bare"
    return Scenario(start, points, at_once, damage)


def _later(point: Point, dice: random.Random) -> list[Point]:
    """Sometimes a second kill, further on."""
    fitting = [other for other in POINTS if other.order > point.order and not other.champion]
    return [dice.choice(fitting)] if fitting and dice.random() < 0.25 else []


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    out = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, no_color=True, width=200)
    if options.list:
        for point in POINTS:
            out.print(f"{point.stage:<9} {point.name}", markup=False)
        return 0
    scenarios = [of_points(BY_NAME[name]) for name in options.point] or list(drawn(options.count, options.seed))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="contender-faults-"))
    outcomes: list[Outcome] = []
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server below has to go, and what was found be told
    info = ensure_server(folder / "home")
    try:
        lab = Lab(folder / "lab", client_environment(info) | {"CONTENDER_HOME": str(info.home)})
        outcomes.extend(_played(lab, scenarios, options, out))  # one by one: those played are there where it is stopped
    except KeyboardInterrupt:
        out.print(f"stopped after {len(outcomes)} of {len(scenarios)} scenarios")
    finally:
        stop_server(folder / "home")
    out.print(_table(outcomes))
    interrupted = len(outcomes) < len(scenarios)
    wrong = [outcome for outcome in outcomes if outcome.violations]
    for outcome in wrong:
        out.print(f"kept: {outcome.folder}", markup=False, soft_wrap=True)
    if not wrong and not options.keep and options.folder is None:
        shutil.rmtree(folder)
    kills, violations = sum(o.kills for o in outcomes), sum(len(o.violations) for o in outcomes)
    out.print(
        f"{kills} kills, {violations} violations, seed {options.seed}, {len(outcomes)} scenarios, "
        f"{sum(o.runs for o in outcomes)} runs, {sum(o.looks for o in outcomes):,} looks at the alias, "
        f"{time.monotonic() - began:,.0f} s"
    )
    return 1 if wrong else 130 if interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make faults", description="kill a run anywhere, and see that nothing is lost"
    )
    parser.add_argument("count", type=int, nargs="?", default=50, metavar="N", help="scenarios (default: 50)")
    parser.add_argument("--seed", type=int, default=17, help="draws the same scenarios again (default: 17)")
    parser.add_argument("--point", action="append", default=[], choices=list(BY_NAME), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the named points")
    parser.add_argument(
        "--folder", type=Path, help="where to play (default: a new temporary folder, removed behind it)"
    )
    parser.add_argument("--keep", action="store_true", help="keep every scenario's folder")
    return parser


def _played(lab: Lab, scenarios: list[Scenario], options: argparse.Namespace, out: Console) -> Iterator[Outcome]:
    out.print(f"{len(scenarios)} scenarios, seed {options.seed}, in {lab.root}", markup=False, soft_wrap=True)
    for number, scenario in enumerate(scenarios, 1):
        outcome = run_scenario(lab, scenario, options.keep)
        state = "ok" if not outcome.violations else "WRONG"
        out.print(f"{number:>3}  {state:<5} {outcome.seconds:5.1f} s  {scenario.start}: {scenario.name}", markup=False)
        for violation in outcome.violations:
            out.print(f"       {violation}", markup=False, soft_wrap=True)
        yield outcome


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("no", "start", "killed in", "continued from", "steps repeated", "runs", "seconds", "", box=None)
    for number, outcome in enumerate(outcomes, 1):
        table.add_row(
            str(number),
            outcome.scenario.start,
            outcome.scenario.name,
            ", ".join(outcome.continued_from) or "itself",
            ", ".join(map(str, outcome.repeated)) or "–",
            str(outcome.runs),
            f"{outcome.seconds:.1f}",
            "ok" if not outcome.violations else f"{len(outcome.violations)} violations",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
