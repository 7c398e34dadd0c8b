"""`contender noise`: what the seed alone moves. Its document goes to stdout, all else to stderr."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.documents import print_document

if TYPE_CHECKING:
    from rich.console import Console

    from contender.stages.noise import NoiseResult

FEW = 4  # runs up to which the deviation itself is hardly known


def command_noise(options: argparse.Namespace) -> int:
    from contender.loading import load_pipeline
    from contender.noise import check_runs
    from contender.quality import process
    from contender.run import signing_key
    from contender.stopping import stoppable
    from deployments.terminal import console

    check_runs(options.runs)
    pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
    options.name = pipeline.spec.name
    signing_key(pipeline)
    with stoppable(), process.ahead():  # the gate's imports pass beside those of Prefect, which come next
        from deployments.embedded import run_noise

        actor = os.environ.get("CONTENDER_ACTOR") or ""
        result = run_noise(pipeline, options.runs, actor, quiet=options.quiet, debug=options.debug)
    _show(console(), result)
    if options.json:
        print_document(result.model_dump(mode="json"))
    return result.exit_code


def _show(out: Console, result: NoiseResult) -> None:
    from contender.stages.noise import NOISE_COLUMNS, noise_rows, seed_rows
    from deployments.terminal import say, show_result, table

    show_result(out, result)
    found = result.noise
    if found is None:
        return
    out.print(table(("seed", "model", *found.spreads), seed_rows(found)))
    out.print(table(NOISE_COLUMNS, noise_rows(found)))
    say(out, f"  on {found.set}, {found.rows:,} rows; trained on {found.trained_on} in {found.precision}")
    if found.runs <= FEW and found.distinct > 1:
        say(out, f"! {found.runs} runs say little of a deviation: see its bounds, or give more --runs", "yellow")
