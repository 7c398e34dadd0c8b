"""Noise: the same training with other seeds, to know what the seed alone moves. Nothing is released, judged or promoted."""

from __future__ import annotations

from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State

from contender.names import DEFAULT_RUNS
from contender.noise import check_runs
from contender.plan import judged_set
from contender.spec import Pipeline
from contender.stages.noise import NoiseResult, noise_done, with_other_seeds
from flows.measuring import Ready, measuring
from tasks.measuring import try_out
from tasks.naming import named
from tasks.noise import keep_noise
from tasks.training import fine_tune


@flow(name="noise", flow_run_name=partial(named, "noise"), persist_result=False)
def noise(spec: Pipeline, runs: int = DEFAULT_RUNS, trigger: str = "manual", actor: str = "") -> State[NoiseResult]:
    """Trains a pipeline with `runs` seeds. The state is Done, or RejectedData."""
    check_runs(runs)
    return measuring(NoiseResult, spec, actor, lambda ready: measured(ready, runs))


def measured(ready: Ready, runs: int) -> NoiseResult:
    trials, on = [], judged_set(ready.run.pipeline)
    for place, seeded in enumerate(with_other_seeds(ready.run, runs, ready.split), start=1):
        model = fine_tune(seeded, ready.base, ready.split)
        trials.append(try_out(seeded, model, ready.split, on, "noise", f"{place} of {runs}"))
    return noise_done(ready.run, ready.snapshot, keep_noise(ready.run, ready.base, ready.split, trials))
