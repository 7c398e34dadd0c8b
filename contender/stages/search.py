"""The trials of a search, one after another or some side by side, and which of them the run goes on with.

No code here gets to see a held-out row.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from contender import specrules
from contender.crossvalidation import CrossValidated
from contender.errors import OutOfMemory, TrainingFailed, UsageError
from contender.evaluation.scope import check_scope
from contender.judging.words import value
from contender.kinds import kind
from contender.objectives import Objectives, objectives, told_of
from contender.plan import rating, stage_key
from contender.progress import Note, tell
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.searching import Point, SearchReport, TriedTrial, best_of, reached
from contender.searchspec import Search, Values
from contender.spending import JOULES_PER_KWH
from contender.stages.around import found_around
from contender.stages.base import base_of
from contender.stages.blind import ON, blind
from contender.stages.costs import costs_of, yardstick
from contender.stages.crossvalidation import Folds, forget_folds
from contender.stages.measuring import score
from contender.stages.model import Training, training
from contender.stages.places import places
from contender.stages.telling import finish
from contender.training.options import Progress
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase
    from contender.study import NextTrial

# Of earlier trials, what ends no other.
UNTOLD = {"seconds", "energy_kwh", "message", "costs", "spread", "folds"}
SLACK = 1e-6  # of an epoch, that a sum of steps may be off by


class Hopeless(Exception):
    """Other trials were so much better after as many epochs that this one is not worth its time."""


class Curve:
    """What validation said of a trial after each epoch so far; raises Hopeless where that ends it."""

    def __init__(self, run: Run, trial: NextTrial) -> None:
        spec = run.pipeline.spec
        self.points: list[Point] = []
        self.seconds = 0.0  # in the training loop
        self.joules: float | None = None
        self._trial, self._epochs = trial, spec.train.epochs
        if kind(spec.task).chooses_by_loss:
            self._name, self._sign = "loss", -1
        else:
            self._name, self._sign = spec.evaluate.metrics[0], 1 if _higher_is_better(run) else -1

    def points_of(self, report: TrainReport) -> list[Point]:
        """Those of a training that came to its end, also where another process saw it."""
        return [self._point(one.epoch, one.metrics) for one in report.curve if self._name in one.metrics]

    def _point(self, epoch: float, metrics: dict[str, float]) -> Point:
        return Point(epoch=math.ceil(epoch - SLACK), score=self._sign * metrics[self._name])

    def __call__(self, progress: Progress) -> None:
        if progress.seconds:
            self.seconds, self.joules = progress.seconds, progress.joules
        if not progress.evaluations:
            return
        self.points = [self._point(one.epoch, one.metrics) for one in progress.evaluations]
        verdicts = [self._trial.is_hopeless(point.epoch, point.score, self._epochs) for point in self.points]
        if verdicts[-1] and progress.step < progress.steps:
            raise Hopeless


def is_over(run: Run, trials: Sequence[TriedTrial]) -> bool:
    """Whether there were enough trials, or one that is good enough, or one that is the best when the budget is spent."""
    if len(trials) >= _search(run).most or _is_reached(run, trials):
        return True
    left = run.pipeline.spec.resources.budget.left(run.spent)
    return left.ends_with_best and left.are_reached(0.0, 0.0) and best_of(trials, _higher_is_better(run)) is not None


def with_changes(run: Run, changes: Values) -> Run:
    """The run as if its spec had these values; pydantic's ValidationError where it cannot have them together."""
    if not changes:
        return run
    return run.with_spec(run.pipeline.spec.with_changes(changes))


def generation(run: Run, before: Sequence[TriedTrial], most: int) -> list[tuple[Values, ...]]:
    """The trials that follow those before, at most so many: of each the values of those that are tried beside it, ahead of it."""
    from contender.study import NextTrial

    search, seed = _search(run), run.pipeline.spec.train.seed
    if not before and "latency_ms" in _aims(run).costs:
        most = 1  # its model is what the others are timed beside
    beside: list[tuple[Values, ...]] = [()]
    while len(beside) < min(most, search.most - len(before)):
        trial = NextTrial(search, seed, before, _higher_is_better(run), beside[-1])
        beside.append((*beside[-1], trial.changes))
    return beside


def try_next(
    run: Run,
    bases: Sequence[ResolvedBase],
    split: Staged[SplitReport],
    before: Sequence[TriedTrial],
    beside: Sequence[Values] = (),
) -> TriedTrial:
    """The trial that follows those before: found in the workspace, or trained in a process of its own and tried on validation.

    `bases`: that a trial may start from; `beside`: see `generation`. A kill loses no more of it than of any training. Options that
    break a training are a finding; all else that goes wrong is raised.
    """
    from contender.study import NextTrial

    search, spec = _search(run), run.pipeline.spec
    check_scope(spec.evaluate.out_of_scope, split.record.label_counts["train"])
    trial = NextTrial(search, spec.train.seed, before, _higher_is_better(run), beside)
    told = TriedTrial(number=trial.number, changes=trial.changes, state="failed", seconds=0.0)
    try:
        trying = with_changes(run, trial.changes)
    except ValidationError as error:  # each value is allowed, and these are not together
        return told.model_copy(update={"message": specrules.first_of(error)})
    base = base_of(trying, bases)
    curve, place = Curve(trying, trial), f"trial {trial.number} of {search.most}"
    # Side by side, a trial that trains the same as another waits here until that one's is whole.
    with blind(run, split, f"search-{stage_key(trying.pipeline, 'train')[:12]}") as seen:
        one = training(
            trying,
            base,
            seen,
            "search",
            _prepared(run, split),
            watch=curve,
            place=place,
        )

        folds = _folds(trying, base, seen, trial)

        def compute(folder: Path) -> TriedTrial:
            found = _tried(trying, seen, one, curve, told, folds, _aims(run), before)
            (folder / "trial.json").write_bytes(found.to_bytes())
            return found

        kept = places(run, _key(run, one, trial, before, folds))
        done = run.workspace.stage("trial", kept.found("trial", TriedTrial), TriedTrial, compute, kept.of).record
    _spend(run, done, folds)
    tell(Note("search", "said", f"{place}: {_came_to(run, done)} with {done.text}", place=place))
    return done


def forget_models(run: Run, before: Sequence[TriedTrial], tried: Sequence[TriedTrial]) -> None:
    """Removes those of the trials that were tried now, but for what can still be chosen, and what others are timed beside.

    Of a hundred trials ninety-odd are never asked for again, and their models are gigabytes; one that is, is trained again.
    """
    aims, every = _aims(run), [*before, *tried]
    numbers = aims.eligible(every)
    kept = {trial.model for trial in every if trial.number in numbers}
    if "latency_ms" in aims.costs and (first := yardstick(every)) is not None:
        kept.add(first.model)
    for trial in tried:
        if trial.model and trial.model not in kept:
            shutil.rmtree(run.workspace.stage_folder("train", trial.model), ignore_errors=True)


def conclude_search(run: Run, split: Staged[SplitReport], trials: Sequence[TriedTrial], seconds: float) -> SearchReport:
    """What the trials came to; TrainingFailed where none finished."""
    from contender.study import importance

    search, higher = _search(run), _higher_is_better(run)
    aims = _aims(run)
    best = aims.chosen(trials)
    if best is None:
        raise TrainingFailed(
            f"none of {len(trials)} trials of the search finished; the first one: {trials[0].message}",
            "Let train hold options that work, and search around them.",
        )
    report = SearchReport(
        method=search.method,
        primary=run.pipeline.spec.evaluate.metrics[0],
        higher_is_better=higher,
        **_measured_on(run, split, best),
        most=search.most,
        trials=tuple(trials),
        best=best.number,
        reached=_is_reached(run, trials),
        budget_spent=is_over(run, trials) and len(trials) < search.most and not _is_reached(run, trials),
        importance=importance(search, trials, higher),
        around=found_around(search),
        **told_of(aims, trials),
    )
    shutil.rmtree(_prepared(run, split), ignore_errors=True)
    if run.pipeline.spec.cross_validation:
        forget_folds(run, split)
    key = stage_key(run.pipeline, "search", trials=[trial.model_dump(mode="json") for trial in trials])
    finish(run, "search", key, report.sentence, cached=False, seconds=seconds)
    return report


def _measured_on(run: Run, split: Staged[SplitReport], best: TriedTrial) -> dict[str, Any]:
    """What scores are of, and how many rows that are."""
    if best.folds is None:
        return {"rows": split.record.rows[ON]}
    return {"set": f"{len(best.folds.folds)} folds", "rows": best.folds.rows}


def _folds(trying: Run, base: ResolvedBase, seen: Staged[SplitReport], trial: NextTrial) -> Folds | None:
    """The trainings on folds that a trial's score is the mean of; None where it is of the one validation set."""
    if trying.pipeline.spec.cross_validation is None:
        return None
    return Folds(trying, base, seen, "search", _prepared(trying, seen), f"trial {trial.number}")


def _key(run: Run, one: Training, trial: NextTrial, before: Sequence[TriedTrial], folds: Folds | None) -> str:
    """Of a trial: its training, what it is measured by and, where others can end it, how those went; not how long they took."""
    prune = "none" if trial.given else _search(run).prune
    others = [] if prune == "none" else [other.model_dump(mode="json", exclude=UNTOLD) for other in before]
    return stage_key(
        run.pipeline,
        "trial",
        training=one.key,
        number=trial.number,
        changes=trial.changes,
        prune=prune,
        before=others,
        metrics=run.pipeline.spec.evaluate.metrics,
        rating=rating(run.pipeline),
        **({} if folds is None else {"folds": folds.keys}),
        **({"costs": costs} if (costs := _aims(run).costs) else {}),
    )


def _prepared(run: Run, split: Staged[SplitReport]) -> Path:
    """Where trials keep rows as tensors, and a frozen encoder's features: to compute those takes longer than many a trial."""
    return run.workspace.job_folder(f"search-{split.key}")


def _tried(
    run: Run,
    seen: Staged[SplitReport],
    one: Training,
    curve: Curve,
    told: TriedTrial,
    folds: Folds | None,
    aims: Objectives,
    before: Sequence[TriedTrial],
) -> TriedTrial:
    place, model, scored = places(run, one.key), None, None
    try:
        looked_up = place.found("train", TrainReport)
        model = run.workspace.stage("train", looked_up, TrainReport, one.compute, place.of, share=False)
        run.spent.add(model.key, model.record.seconds, model.record.energy_kwh)
        if folds and not model.record.budget_spent:  # nothing is left for them then
            scored = folds.score()[0]
    except (Hopeless, TrainingFailed, OutOfMemory) as error:
        one.forget()
        if folds:
            folds.forget()
        why = {"state": "pruned"} if isinstance(error, Hopeless) else {"message": error.what}
        points, seconds, kwh = (
            curve.points,
            curve.seconds,
            None if curve.joules is None else curve.joules / JOULES_PER_KWH,
        )
        if model:  # a fold failed
            points, seconds, kwh = curve.points_of(model.record), model.record.seconds, model.record.energy_kwh
            shutil.rmtree(model.folder, ignore_errors=True)
        return told.model_copy(update={**why, "energy_kwh": kwh, "curve": tuple(points), "seconds": seconds})
    if not model.record.budget_spent:
        one.forget()
    primary = run.pipeline.spec.evaluate.metrics[0]
    metrics = scored.means if scored else score(run, model, seen, ON, "search").metrics
    costs = costs_of(run, model, seen, ON, aims.costs, before)
    all_seconds, all_kwh = _with_folds(model.record, scored)
    return told.model_copy(
        update={
            "state": "finished",
            "score": metrics[primary],
            "metrics": metrics,
            "spread": scored.spreads[primary].sd if scored else None,
            "folds": scored,
            "costs": costs,
            "curve": tuple(curve.points_of(model.record)),
            "seconds": all_seconds,
            "energy_kwh": all_kwh,
            "budget_spent": model.record.budget_spent,
            "model": model.key,
        }
    )


def _with_folds(report: TrainReport, folds: CrossValidated | None) -> tuple[float, float | None]:
    """Seconds and kWh of a training and of those on its folds; None where no device told."""
    drew = [kwh for kwh in (report.energy_kwh, folds.energy_kwh if folds else None) if kwh is not None]
    return report.seconds + (folds.seconds if folds else 0.0), sum(drew) if drew else None


def _spend(run: Run, done: TriedTrial, folds: Folds | None) -> None:
    """Counts a trial, found or trained, in the run's budget: each fold by itself, and its own training by the key that a run finds."""
    seconds, kwh = done.seconds, done.energy_kwh
    if folds and done.folds:
        folds.spend(done.folds.folds)
        seconds, kwh = seconds - done.folds.seconds, None if kwh is None else kwh - (done.folds.energy_kwh or 0.0)
    run.spent.add(f"trial {done.number}" if done.model is None else done.model, seconds, kwh)


def _came_to(run: Run, trial: TriedTrial) -> str:
    primary = run.pipeline.spec.evaluate.metrics[0]
    return value(primary, trial.score) if trial.score is not None else trial.message or trial.state


def _is_reached(run: Run, trials: Sequence[TriedTrial]) -> bool:
    """Whether a trial is good enough to be the last."""
    return any(reached(trial, _search(run).stop_when) for trial in trials)


def _higher_is_better(run: Run) -> bool:
    from contender.evaluation.metrics import METRICS

    return METRICS[run.pipeline.spec.evaluate.metrics[0]].higher_is_better


def _aims(run: Run) -> Objectives:
    return objectives(_search(run), run.pipeline.spec.evaluate.metrics[0])


def _search(run: Run) -> Search:
    if run.pipeline.spec.search is None:
        raise UsageError("the spec has no search", "Add search: {} to it.")
    return run.pipeline.spec.search
