"""Curve: trainings on growing parts of the data, to know whether more of it would help. Nothing is released, judged or promoted."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State

from contender.curve import check_fractions, check_seeds
from contender.names import DEFAULT_FRACTIONS, DEFAULT_SEEDS
from contender.spec import Pipeline
from contender.stages.curve import ON, CurveResult, check_validation, curve_done, planned
from flows.measuring import Ready, measuring
from tasks.curve import draw_curve, take_fraction
from tasks.measuring import try_out
from tasks.naming import named
from tasks.training import fine_tune


@flow(name="curve", flow_run_name=partial(named, "curve"), persist_result=False)
def curve(
    spec: Pipeline,
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS,
    seeds: int = DEFAULT_SEEDS,
    trigger: str = "manual",
    actor: str = "",
) -> State[CurveResult]:
    """Trains a pipeline on each fraction of its training rows with `seeds` seeds. The state is Done, or RejectedData."""
    check_fractions(fractions)
    check_seeds(seeds)
    check_validation(spec)
    return measuring(CurveResult, spec, actor, lambda ready: measured(ready, fractions, seeds))


def measured(ready: Ready, fractions: tuple[float, ...], seeds: int) -> CurveResult:
    run, split = ready.run, ready.split
    parts = [take_fraction(run, split, fraction) for fraction in fractions]
    trials = []
    for seeded, part, place in planned(run, split, parts, fractions, seeds):
        model = fine_tune(seeded, ready.base, part)
        trials.append(try_out(seeded, model, part, ON, "curve", place))
    return curve_done(run, ready.snapshot, draw_curve(run, split, parts, fractions, trials))
