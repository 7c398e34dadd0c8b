"""What was trained: how a training went, and the candidates beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contender.compression import Compression
from contender.evaluation.metrics import METRICS
from contender.judging.words import facts, in_sentence, value
from contender.overfitting import overfitting
from contender.records import CurvePoint, Evaluation, ReleaseManifest, SetEvaluation, TrainReport
from contender.reporting.wording import duration
from contender.showing.markdown import Markup, bold, counted, heading, listed, page, safe, section, table
from contender.text import blocks

LINE = 30  # blocks of a curve: more run out of the page
POINTS = 20  # of a learning curve, spread over the whole of it


def training_page(report: TrainReport, primary: str) -> str:
    """What a training came to, its learning curve as lines of blocks, and some of its points."""
    best = f"Best {in_sentence(primary)} on validation: "
    return page(
        heading(f"{counted(report.steps, 'step')} in {duration(report.seconds)}"),
        safe(best) + bold(value(primary, report.best_metric)) + safe(f", at step {report.best_step or report.steps:,}.")
        if report.best_metric is not None
        else "",
        bold(fit.text) if (fit := overfitting(report)) is not None and fit.overfits else "",
        _curves(report.curve),
        table(("", " "), _figures(report)),
        *section("Notes", listed(report.notes)),
        *section("Learning curve", _points(report.curve)),
    )


def compression_page(found: Compression) -> str:
    """A compressed model beside the one that it was made from."""
    said = {"yes": "It is faster", "no": "It is not faster", "not shown": "It is not shown to be faster"}[found.faster]
    return page(
        heading(found.how[0].upper() + found.how[1:]),
        safe(
            f"{said} than the model that it was made from" + ("." if found.faster == "yes" else ": it is not promoted.")
        ),
        table(("", "before", "after"), found.figures),
    )


def _figures(report: TrainReport) -> list[tuple[str, str]]:
    stopped = " (stopped early)" if report.stopped_early else ""
    figures = [
        ("epochs", f"{report.epochs:.2f}{stopped}"),
        ("examples", f"{report.examples:,}, {report.examples_per_second:,.0f} a second"),
        ("batch size", f"{report.batch_size:,}"),
        ("learning rate", f"{report.learning_rate:.3g}"),
        ("device", f"{report.device}, {report.precision}: {report.precision_reason}"),
        ("checkpoints", f"{report.checkpoints:,} in {duration(report.checkpoint_seconds)}"),
    ]
    if report.resumed_from_step:
        figures.append(("continued", f"from step {report.resumed_from_step:,}, attempt {report.attempt}"))
    return figures


def _curves(curve: Sequence[CurvePoint]) -> Markup:
    series = {"training loss": [point.loss for point in curve if point.loss is not None]}
    for name in _metrics(curve):
        series[f"validation {_in_words(name)}"] = [point.metrics[name] for point in curve if name in point.metrics]
    rows = [
        (name, Markup(blocks(found, LINE)), f"{found[0]:.4f}", f"{found[-1]:.4f}")
        for name, found in series.items()
        if found
    ]
    return table(("", "from the first step to the last", "first", "last"), rows)


def _points(curve: Sequence[CurvePoint]) -> Markup:
    """Where validation was looked at, the loss of training beside it; without validation every point."""
    metrics, loss, found = _metrics(curve), "", []
    for point in curve:
        loss = loss if point.loss is None else f"{point.loss:.4f}"
        if point.metrics or not metrics:
            values = (f"{point.metrics[name]:.4f}" if name in point.metrics else "" for name in metrics)
            found.append((f"{point.step:,}", f"{point.epoch:.2f}", loss, *values))
    every = max(1, -(-len(found) // POINTS))
    rows = [row for place, row in enumerate(reversed(found)) if place % every == 0][::-1]
    return table(("step", "epoch", "training loss", *(f"validation {_in_words(name)}" for name in metrics)), rows)


def _in_words(name: str) -> str:
    return in_sentence(name) if name in METRICS else name  # loss


def _metrics(curve: Sequence[CurvePoint]) -> list[str]:
    return list(dict.fromkeys(name for point in curve for name in point.metrics))


@dataclass(frozen=True)
class Candidate:
    """One model of a leaderboard, with its metrics on the set that is judged on."""

    release: str
    role: str
    base: str
    held: SetEvaluation


def candidates(
    evaluation: Evaluation, challenger: ReleaseManifest, champion: ReleaseManifest | None, on: str
) -> list[Candidate]:
    """The models that a run compares: its challenger, and the champion where there is one."""
    pairs = [(challenger, "challenger", evaluation.challenger_sets)]
    pairs += [(champion, "champion", evaluation.champion_sets)] if champion else []
    return [
        Candidate(release.release, role, str(release.lineage.get("base", "")), held)
        for release, role, sets in pairs
        for held in sets
        if held.set == on
    ]


def leaderboard(models: Sequence[Candidate], primary: str) -> str:
    """The models on the same rows, the best by the primary metric first."""
    sign = -1 if facts(primary).higher_is_better else 1
    ranked = sorted(models, key=lambda model: sign * model.held.metrics[primary])
    names = [primary, *(name for name in ranked[0].held.metrics if name != primary)] if ranked else []
    rows = [
        (
            f"{place}",
            bold(model.release) if place == 1 else model.release,
            model.role,
            model.base,
            *(value(name, model.held.metrics[name]) for name in names),
        )
        for place, model in enumerate(ranked, start=1)
    ]
    on = (
        f"On {counted(models[0].held.rows, 'row')} of {models[0].held.set}, by {in_sentence(primary)}."
        if models
        else ""
    )
    return page(
        heading(counted(len(models), "model")), on, table(("", "release", "role", "base", *map(_title, names)), rows)
    )


def _title(name: str) -> str:
    return facts(name).title
