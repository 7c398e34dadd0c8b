"""Retrain: new data in, a proven model out. It holds order and branches; what happens in a stage is the stage's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from contender.conclusion import Contest
from contender.contest import Champion
from contender.errors import AliasMoved, ContenderError, DataError, Unreadable
from contender.records import ReleaseManifest, Snapshot
from contender.run import Run, RunResult, ended_by, open_run, skipped, up_to_date
from contender.spec import Pipeline
from contender.stages.base import base_of
from contender.stopping import stoppable
from flows.deployed import continued
from flows.search import searched
from flows.selection import selected
from flows.states import ended
from tasks.crossvalidation import cross_validate
from tasks.decision import conclude, find_decision, refuse
from tasks.ending import leave_result
from tasks.evaluation import evaluate_both
from tasks.judging import judge_challenger
from tasks.logs import logged
from tasks.monitoring import monitor
from tasks.naming import named
from tasks.notification import failures_told, tell_of
from tasks.promotion import find_champion, promote, publish
from tasks.quality import check_quality
from tasks.release import stage_release
from tasks.selection import find_bases
from tasks.snapshot import look, take_snapshot
from tasks.split import split_rows
from tasks.training import compress, find_student, fine_tune
from tasks.turn import devices_of, turn

ATTEMPTS = 3  # at a verdict, where other runs move the champion meanwhile


@flow(name="retrain", flow_run_name=named, persist_result=False)
def retrain(spec: Pipeline, trigger: str = "manual", actor: str = "", settle: float = 0.0) -> State[RunResult]:
    """Runs a pipeline once, given by value. The state's name says what came of it: Promoted, Kept, Inconclusive, RejectedData, UpToDate.

    settle: seconds that a file must have rested for; younger ones are left to a later run.
    """
    # Prefect's own handler of SIGTERM would raise in the middle of whatever goes on
    with stoppable(), logged(), failures_told(spec):
        run = open_run(spec, actor or f"flow-run:{flow_run.id}", flow_run.id)
        run = replace(run, hold_device=devices_of(run), settle=settle)
        try:
            return continued(run, once)
        except ContenderError as error:
            error.ended = ended_by(run, error)
            raise


def once(run: Run) -> State[RunResult]:
    with turn(run) as busy:
        result = leave_result(run, skipped(run, busy) if busy else retrained(run))
    state = ended(result)
    tell_of(run, result)  # whoever waits for the turn does not wait for a receiver
    return state


def retrained(run: Run) -> RunResult:
    """The picture, from the source to the decision."""
    seen = look(run)
    decision = find_decision(run, seen)
    if decision is not None:
        return up_to_date(run, seen, decision)

    champion = find_champion(run, seen)
    bases = find_bases(run)
    student = find_student(run, bases[0]) if run.pipeline.spec.compress.distill else None
    snapshot = quality = None
    try:
        snapshot = take_snapshot(run, seen, champion.manifest)
        quality = check_quality(run, snapshot, champion.manifest)
        if not quality.record.passed:
            return refuse(run, snapshot.record, champion, quality.record.message, quality)
        split = split_rows(run, snapshot, quality)
    except Unreadable:
        raise  # no decision: the same bytes may be read tomorrow
    except DataError as error:
        return refuse(run, snapshot.record if snapshot else seen, champion, error.in_one_line, quality)

    observation = monitor(run, champion, snapshot.record, split)  # before these rows train anything
    chosen, bases, selection = selected(run, bases, split)
    chosen, search = searched(chosen, bases, split, champion) if run.pipeline.spec.search else (chosen, None)
    base = base_of(chosen, bases)
    folds = search.chosen.folds if search else None
    if run.pipeline.spec.cross_validation and not search:
        folds = cross_validate(chosen, base, split)
    model = fine_tune(chosen, base, split)
    compressed = compress(chosen, student, model, split) if run.pipeline.spec.compress.asked else None
    challenger = stage_release(
        chosen, base, model, split, snapshot, quality, champion.entry, compressed, student, search, selection
    )
    stages = {
        "snapshot": snapshot.record,
        "quality": quality,
        "split": split,
        "selection": selection,
        "search": search,
        "folds": folds,
        "model": model,
        "compressed": compressed,
        "observation": observation,
    }
    return contend(run, seen, challenger, champion, stages)


def contend(
    run: Run, seen: Snapshot, challenger: ReleaseManifest, champion: Champion, stages: dict[str, Any]
) -> RunResult:
    """The challenger against the champion, and against the next one where another run moved the alias meanwhile."""
    for attempt in range(1, ATTEMPTS + 1):
        evaluation = evaluate_both(run, challenger, champion, stages["split"])
        verdict = judge_challenger(run, challenger, champion, stages["split"], stages["compressed"])
        contest = Contest(**stages, challenger=challenger, champion=champion, evaluation=evaluation, verdict=verdict)
        report = publish(run, contest)
        if verdict.verdict != "PROMOTE":
            return conclude(run, contest, "kept" if verdict.verdict == "KEEP" else "inconclusive", report)
        try:
            return conclude(run, contest, "promoted", report, promote(run, contest))
        except AliasMoved:
            if attempt == ATTEMPTS:
                break
            champion = find_champion(run, seen)
    return conclude(run, contest, "superseded", report)
