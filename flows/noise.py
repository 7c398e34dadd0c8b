"""Noise: the same training with other seeds, to know what the seed alone moves. Nothing is released, judged or promoted.

It takes no turn of the pipeline's: it may last hours, and a run that promotes is not to wait for it. Where both want the same
stage, one of them computes it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from contender.errors import ContenderError
from contender.names import DEFAULT_RUNS
from contender.noise import check_runs
from contender.run import Run, open_run
from contender.spec import Pipeline
from contender.stages.noise import NoiseResult, noise_done, noise_ended_by, noise_refused, with_other_seeds
from contender.stopping import stoppable
from flows.deployed import continued
from flows.states import ended
from tasks.logs import logged
from tasks.naming import named, tag_outcome
from tasks.noise import find_live, keep_noise, try_out
from tasks.quality import check_quality
from tasks.snapshot import look, take_snapshot
from tasks.split import split_rows
from tasks.training import find_base, fine_tune
from tasks.turn import devices_of


@flow(name="noise", flow_run_name=partial(named, "noise"), persist_result=False)
def noise(spec: Pipeline, runs: int = DEFAULT_RUNS, trigger: str = "manual", actor: str = "") -> State[NoiseResult]:
    """Trains a pipeline with `runs` seeds. The state is Done, or RejectedData."""
    check_runs(runs)
    run = open_run(spec, actor or f"flow-run:{flow_run.id}", flow_run.id)
    run = replace(run, hold_device=devices_of(run))
    with stoppable(), logged():
        try:
            return continued(run, lambda run: once(run, runs))
        except ContenderError as error:
            error.ended = noise_ended_by(run, error)
            raise


def once(run: Run, runs: int) -> State[NoiseResult]:
    result = measured(run, runs)
    tag_outcome(run, result.outcome)
    return ended(result)


def measured(run: Run, runs: int) -> NoiseResult:
    seen = look(run)
    live = find_live(run)
    base = find_base(run)
    snapshot = take_snapshot(run, seen, live)
    quality = check_quality(run, snapshot, live)
    if not quality.record.passed:
        return noise_refused(run, snapshot.record, quality)
    split = split_rows(run, snapshot, quality)

    trials = []
    for place, seeded in enumerate(with_other_seeds(run, runs, split), start=1):
        model = fine_tune(seeded, base, split)
        trials.append(try_out(seeded, model, split, f"{place} of {runs}"))
    return noise_done(run, snapshot.record, keep_noise(run, base, split, trials))
