"""What goes on between runs: the champion on new rows, what the seed alone moves, and what more data would bring."""

from __future__ import annotations

from collections.abc import Sequence

from contender.curve import CURVE_COLUMNS, CurveReport, curve_rows
from contender.judging.words import in_sentence
from contender.monitoring import COLUMNS, Observation
from contender.noise import NoiseReport
from contender.showing.markdown import Markup, heading, page, safe, section, table
from contender.stages.noise import NOISE_COLUMNS, noise_rows, seed_rows
from contender.text import blocks


def monitoring_page(series: Sequence[Observation], newest: Observation) -> str:
    """The newest observation in a sentence, the series as a line of blocks, and as a table, the newest first."""
    values = [one.metrics[newest.primary] for one in series if newest.primary in one.metrics]
    return page(
        heading("The champion on rows that were new to it"),
        safe(newest.sentence),
        Markup(f"{safe(in_sentence(newest.primary))} {blocks(values)}") if len(values) > 1 else "",
        table(COLUMNS, [one.row for one in reversed(series)]),
    )


def noise_page(report: NoiseReport) -> str:
    """How far the metrics of one training move with its seed."""
    columns = ("seed", "model", *report.spreads)
    return page(
        heading("What the seed alone moves"),
        safe(report.sentence),
        table(NOISE_COLUMNS, noise_rows(report)),
        *section(f"Each seed on {report.set}", table(columns, seed_rows(report), most=100)),
    )


def curve_page(report: CurveReport) -> str:
    """The scores over fractions of the training rows, what twice the rows would bring, and each training."""
    seeds = [f"seed {seed}" for seed in report.seeds]
    values = [(f"{one.fraction:g}", *(f"{value:.4f}" for value in one.values)) for one in report.scores]
    return page(
        heading("Would more data help?"),
        safe(report.sentence.partition("? ")[2]),
        table(CURVE_COLUMNS[:-1], [row[:-1] for row in curve_rows(report)], most=100),
        *section(f"Each training on {report.set}", table(("fraction", *seeds), values, most=100)),
    )
