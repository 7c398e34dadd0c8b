"""`contender noise`: what the seed alone moves. Its document goes to stdout, all else to stderr."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from contender.names import DEFAULT_RUNS, FEWEST_RUNS, MOST_RUNS
from deployments.arguments import actor_of
from deployments.documents import print_document

if TYPE_CHECKING:
    from rich.console import Console

    from contender.stages.noise import NoiseResult
    from deployments.loudness import Loudness

NOISE = "train with other seeds, to know what the seed alone moves; releases and promotes nothing"
FEW = 4  # runs up to which the deviation itself is hardly known


def noise_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--runs",
        metavar="K",
        type=int,
        default=DEFAULT_RUNS,
        help=f"trainings, {FEWEST_RUNS} to {MOST_RUNS} (default: {DEFAULT_RUNS})",
    )


def command_noise(options: argparse.Namespace) -> int:
    from contender.loading import load_pipeline
    from contender.noise import check_runs
    from contender.quality import process
    from contender.run import signing_key
    from contender.stopping import stoppable
    from deployments.loudness import loudness
    from deployments.terminal import console

    check_runs(options.runs)
    pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
    options.name = pipeline.spec.name
    signing_key(pipeline)
    with stoppable(), process.ahead():  # the gate's imports pass beside those of Prefect, which come next
        from deployments.embedded import run_noise

        result = run_noise(pipeline, options.runs, actor_of(options), loudness(options))
    _show(console(), result, loudness(options))
    if options.json:
        print_document(result.model_dump(mode="json"))
    return result.exit_code


def _show(out: Console, result: NoiseResult, loudness: Loudness) -> None:
    from contender.stages.noise import NOISE_COLUMNS, noise_rows, seed_rows
    from deployments.results import show_result
    from deployments.terminal import say, show_table

    show_result(out, result, loudness)
    found = result.noise
    if found is None or loudness == loudness.QUIET:
        return
    show_table(out, ("seed", "model", *found.spreads), seed_rows(found))
    show_table(out, NOISE_COLUMNS, noise_rows(found))
    say(out, f"  on {found.set}, {found.rows:,} rows; trained on {found.trained_on} in {found.precision}")
    if found.runs <= FEW and found.distinct > 1:
        say(out, f"! {found.runs} runs say little of a deviation: see its bounds, or give more --runs", "yellow")
