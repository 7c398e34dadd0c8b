"""`contender curve`: would more data help. Its document goes to stdout, all else to stderr."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from contender.names import DEFAULT_FRACTIONS, DEFAULT_SEEDS, FEWEST_SEEDS, MOST_SEEDS
from deployments.arguments import actor_of, check_page, write_page
from deployments.documents import print_document

if TYPE_CHECKING:
    from rich.console import Console

    from contender.stages.curve import CurveResult
    from deployments.loudness import Loudness

CURVE = "train on growing parts of the data: would more of it help; releases and promotes nothing"
DEFAULT = ",".join(f"{fraction:g}" for fraction in DEFAULT_FRACTIONS)


def curve_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--fractions",
        metavar="F,F…",
        default=DEFAULT,
        help=f"of the training rows, above 0 and up to 1, each larger than the one before (default: {DEFAULT})",
    )
    one.add_argument(
        "--seeds",
        metavar="K",
        type=int,
        default=DEFAULT_SEEDS,
        help=f"trainings of each fraction, {FEWEST_SEEDS} to {MOST_SEEDS} (default: {DEFAULT_SEEDS})",
    )
    one.add_argument("--html", metavar="FILE", help="write a page, too")


def command_curve(options: argparse.Namespace) -> int:
    from contender.curve import check_seeds, parse_fractions
    from contender.loading import load_pipeline
    from contender.quality import process
    from contender.run import signing_key
    from contender.stages.curve import check_validation
    from contender.stopping import stoppable
    from deployments.loudness import loudness
    from deployments.terminal import console, say

    if options.html:
        check_page(Path(options.html), "--html")
    fractions, seeds = parse_fractions(options.fractions), check_seeds(options.seeds)
    pipeline = load_pipeline(Path(options.pipeline), tuple(options.overrides))
    options.name = pipeline.spec.name
    check_validation(pipeline)
    signing_key(pipeline)
    with stoppable(), process.ahead():  # the gate's imports pass beside those of Prefect, which come next
        from deployments.embedded import run_curve

        result = run_curve(pipeline, fractions, seeds, actor_of(options), loudness(options))
    _show(console(), result, loudness(options))
    if options.html and result.curve is not None:
        from contender.reporting.curve import render_curve

        write_page(Path(options.html), render_curve(result.curve).encode(), "--html")
        say(console(), f"wrote {options.html}")
    if options.json:
        print_document(result.model_dump(mode="json"))
    return result.exit_code


def _show(out: Console, result: CurveResult, loudness: Loudness) -> None:
    from contender.curve import CURVE_COLUMNS, curve_rows
    from contender.judging.words import in_sentence
    from deployments.results import show_result
    from deployments.terminal import Column, say, show_table

    show_result(out, result, loudness)
    found = result.curve
    if found is None or loudness == loudness.QUIET:
        return
    columns = [Column(title, right=title in ("rows", "mean"), spare=title == "sd of seeds") for title in CURVE_COLUMNS]
    show_table(out, columns, curve_rows(found))
    say(
        out,
        f"  {in_sentence(found.primary)} on {found.set}, {found.validation_rows:,} rows, of {len(found.seeds)} seeds each",
    )
