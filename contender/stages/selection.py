"""Several bases compared cheaply, and which of them the run goes on with. No code here gets to see a held-out row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from contender.errors import ContenderError, ModelError, OutOfMemory, TrainingFailed
from contender.estimate import estimated
from contender.evaluation.scope import check_scope, with_scope
from contender.judging.words import value
from contender.kinds import kind
from contender.plan import rating, stage_key
from contender.progress import Note, tell
from contender.records import SplitReport, TrainReport
from contender.run import Run
from contender.searching import BASE
from contender.searchspec import Parameter
from contender.selecting import ComparedBase, SelectionReport, Way, ranked
from contender.shareable import shareable
from contender.stages.base import with_base
from contender.stages.blind import ON, blind
from contender.stages.compared import measured, selection_of
from contender.stages.curve import PartReport, part_of
from contender.stages.estimate import estimate_on
from contender.stages.measuring import score
from contender.stages.model import Predictor, predict_by, training
from contender.stages.places import places
from contender.stages.telling import finish
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase
    from contender.training.options import TrainOptions

# Of a classifier on frozen features, which are computed once: an epoch takes milliseconds.
PROBE_EPOCHS, PROBE_PATIENCE = 30, 5


def compare_base(run: Run, base: ResolvedBase, split: Staged[SplitReport], full: bool = False) -> ComparedBase:
    """One base on validation: found in the workspace, or trained in a process of its own; `full`: as the run would train it.

    A kill loses no more of it than of any training. A base that cannot be trained is a finding; all else that goes wrong is raised.
    """
    selection, spec = selection_of(run), run.pipeline.spec
    check_scope(spec.evaluate.out_of_scope, split.record.label_counts["train"])
    way: Way = "full" if full else selection.way(spec)
    number = spec.model.bases.index(base.name) + 1
    told = ComparedBase(number=number, name=shareable(base.name), way=way, state="failed")
    with blind(run, split, f"selection-{number}") as seen:
        rows = seen if full else _sample(run, seen, selection.rows)
        comparing = _by(with_base(run, base.name), way)
        found = (
            _untrained(run, comparing, base, rows, told)
            if way == "zero-shot"
            else _trained(run, comparing, base, rows, seen, told)
        )
        if found.state == "finished" and found.training_seconds is None:
            found = _timed(run, base, seen, told, found)
    run.spent.add(found.model or f"base {number} by {way}", found.seconds, found.energy_kwh)
    shown = f"{found.name}: {_came_to(run, found)} by {way}"
    tell(Note("selection", "said", shown))
    return found


def conclude_selection(
    run: Run, split: Staged[SplitReport], compared: Sequence[ComparedBase], seconds: float
) -> SelectionReport:
    """What comparing came to; ModelError where no base could be trained."""
    from contender.evaluation.metrics import METRICS

    spec = run.pipeline.spec
    higher = METRICS[spec.evaluate.metrics[0]].higher_is_better
    price = spec.resources.budget.price_per_hour
    report = SelectionReport(
        primary=spec.evaluate.metrics[0],
        higher_is_better=higher,
        rows=split.record.rows[ON],
        sample=max((base.examples for base in compared if not base.is_asked and base.way != "full"), default=0),
        bases=tuple(base.at(price) for base in compared),
        kept=tuple(base.number for base in kept(run, compared)),
        chosen=_chosen(run, compared).number,
        searched=spec.search is not None and selection_of(run).keep > 1,
    )
    told = [
        base.model_dump(mode="json", exclude={"seconds", "preparing_seconds", "energy_kwh", "message"})
        for base in compared
    ]
    finish(run, "selection", stage_key(run.pipeline, "selection", bases=told), report.sentence, False, seconds)
    return report


def kept(run: Run, compared: Sequence[ComparedBase]) -> list[ComparedBase]:
    """Those that go on after the comparison, the best first; ModelError where there is none."""
    first = [base for base in compared if not base.is_asked and base.way != "full"]
    found = ranked(first, _higher_is_better(run))[: selection_of(run).keep]
    if not found:
        raise ModelError(
            f"none of {len(first)} bases of model.base could be compared; {first[0].name}: {first[0].message}",
            "Name bases of an architecture that the task can use, or lower selection.rows or train.batch_size.",
        )
    return found


def searching_among(run: Run, bases: Sequence[ResolvedBase]) -> Run:
    """The run with its search among these bases as well; as it is where there is only one, or no search."""
    spec, search = run.pipeline.spec, run.pipeline.spec.search
    if search is None or len(bases) == 1:
        return run
    space = search.space | {BASE: Parameter(values=tuple(base.name for base in bases))}
    return run.with_spec(spec.model_copy(update={"search": search.model_copy(update={"space": space})}))


def _chosen(run: Run, compared: Sequence[ComparedBase]) -> ComparedBase:
    """The best of those that were trained in full; where none was, of those that were kept."""
    full = [base for base in compared if base.way == "full"]
    finished = ranked(full, _higher_is_better(run))
    if full and not finished:
        raise TrainingFailed(
            f"none of the {len(full)} bases that were kept finished its training; {full[0].name}: {full[0].message}",
            "Keep other options of train, or fewer bases.",
        )
    return finished[0] if finished else kept(run, compared)[0]


def _by(run: Run, way: Way) -> Run:
    """The run with what its spec says of training, as far as this way of comparing takes it."""
    spec = run.pipeline.spec
    if way == "fine-tune":
        changes: dict[str, Any] = {"epochs": min(1.0, spec.train.epochs), "early_stopping": 0}
        spec = spec.model_copy(update={"train": spec.train.model_copy(update=changes)})
    elif way == "linear-probe":
        model = spec.model.model_copy(update={"method": "head"})
        spec = spec.model_copy(update={"model": model, "train": _of_a_probe(spec.train)})
    return run if spec is run.pipeline.spec else run.with_spec(spec)


def _of_a_probe(train: TrainOptions) -> TrainOptions:
    """For a classifier on frozen features: what the spec says of rows and classes, and nothing that is meant for whole models."""
    same = {"batch_size", "seed", "class_weights", "label_smoothing", "max_length", "precision", "deterministic"}
    options = {name: getattr(train, name) for name in same}
    return type(train)(**options, epochs=PROBE_EPOCHS, early_stopping=PROBE_PATIENCE)


def _sample(run: Run, seen: Staged[SplitReport], rows: int) -> Staged[SplitReport]:
    """The split with about so many of its training rows; a larger sample holds every smaller one."""
    fraction = rows / seen.record.rows["train"] if seen.record.rows["train"] else 1.0
    if fraction >= 1:
        return seen
    key, compute = part_of(run, seen, fraction)
    return cast(Staged[SplitReport], run.workspace.stage("fraction", key, PartReport, compute))


def _trained(
    whole: Run, run: Run, base: ResolvedBase, rows: Staged[SplitReport], seen: Staged[SplitReport], told: ComparedBase
) -> ComparedBase:
    """`rows`: to train on; `whole` and `seen`: the training and the split that an estimate is for."""
    one = training(run, base, rows, "selection", place=f"{told.name} by {told.way}")

    place = places(run, one.key)

    def compute(folder: Path) -> ComparedBase:
        try:
            kind(run.pipeline.spec.task).check_base(Path(base.path))
            looked_up = place.found("train", TrainReport)
            model = run.workspace.stage("train", looked_up, TrainReport, one.compute, place.of, share=False)
        except (TrainingFailed, OutOfMemory, ModelError) as error:
            one.forget()
            return _kept(folder, _failed(told, base, error))
        if not model.record.budget_spent:
            one.forget()
        metrics = score(run, model, rows, ON, "selection")
        found = {
            **measured(whole, metrics.outcomes, rows, model.folder / "model"),
            "metrics": metrics.metrics,
            "score": metrics.metrics[run.pipeline.spec.evaluate.metrics[0]],
            "examples": rows.record.rows["train"],
            "seconds": model.record.seconds,
            "preparing_seconds": model.record.durations.preparing,
            "energy_kwh": model.record.energy_kwh,
            "budget_spent": model.record.budget_spent,
            "training_seconds": _whole(whole, told.way, model.record, rows.record, seen.record),
        }
        if told.way == "full":
            found["model"] = model.key
        elif rows is not seen:  # nobody asks for the model of a sample again
            shutil.rmtree(model.folder, ignore_errors=True)
        return _kept(folder, told.model_copy(update=found))

    return _compared(whole, one.key, told, compute)


def _untrained(whole: Run, run: Run, base: ResolvedBase, rows: Staged[SplitReport], told: ComparedBase) -> ComparedBase:
    """As it is, without a training."""
    import pyarrow.parquet as pq

    from contender.evaluation.metrics import compute as compute_metrics

    evaluate = run.pipeline.spec.evaluate

    def compute(folder: Path) -> ComparedBase:
        began, model = time.monotonic(), Path(base.path)
        try:
            kind(run.pipeline.spec.task).check_base(model)
            predictor = Predictor(base.digest, told.name, run.pipeline.spec.task, lambda: model)
            outcomes = predict_by(run, predictor, rows, ON, "selection").folder / "outcomes.parquet"
        except ModelError as error:
            return _kept(folder, _failed(told, base, error))
        seconds = time.monotonic() - began
        metrics = compute_metrics(with_scope(pq.read_table(outcomes), evaluate.out_of_scope), evaluate.metrics)
        found = {
            **measured(whole, outcomes, rows, model),
            "metrics": metrics,
            "score": metrics[evaluate.metrics[0]],
            "seconds": seconds,
        }
        return _kept(folder, told.model_copy(update=found))

    return _compared(whole, f"{base.digest}-{rows.record.digests[ON]}", told, compute)


def _compared(run: Run, of: str, told: ComparedBase, compute: Callable[[Path], ComparedBase]) -> ComparedBase:
    """Through the workspace; its number and name are this spec's, whatever they were in the one that it was computed for."""
    spec = run.pipeline.spec
    key = stage_key(
        run.pipeline,
        "candidate",
        of=of,
        way=told.way,
        whole=[spec.model.method, spec.train.epochs],
        metrics=spec.evaluate.metrics,
        rating=rating(run.pipeline),
        scope=spec.evaluate.out_of_scope,
        asked=selection_of(run).api_rows if spec.model.asked else 0,
    )
    place = places(run, key)
    looked_up = place.found("candidate", ComparedBase)
    found = run.workspace.stage("candidate", looked_up, ComparedBase, compute, place.of).record
    return found.model_copy(update={"number": told.number, "name": told.name})


def _kept(folder: Path, found: ComparedBase) -> ComparedBase:
    found = found.model_copy(update={"state": "finished" if found.score is not None else "failed"})
    (folder / "candidate.json").write_bytes(found.to_bytes())
    return found


def _failed(told: ComparedBase, base: ResolvedBase, error: ContenderError) -> ComparedBase:
    """Why it could not be compared, without this machine's folders: the report goes where many people may read it."""
    return told.model_copy(update={"message": error.what.replace(base.path, told.name)})


def _whole(run: Run, way: Way, report: TrainReport, sample: SplitReport, whole: SplitReport) -> float | None:
    """Seconds of the whole training, at most; None where this one does not tell: it trained less of the model."""
    if way == "full":
        return report.durations.preparing + report.seconds
    train, method = run.pipeline.spec.train, run.pipeline.spec.model.method
    if (way == "linear-probe" and method != "head") or not report.durations.epochs:
        return None
    rows = (sample.rows["train"], sample.rows[ON])
    return estimated(report, rows, whole.rows["train"], whole.rows[ON], train.epochs, train.batch_size).altogether


def _timed(
    run: Run, base: ResolvedBase, split: Staged[SplitReport], told: ComparedBase, found: ComparedBase
) -> ComparedBase:
    """What was found with the time of the whole training, by some steps of it; a base that cannot do these is a finding, too."""
    tell(Note("selection", "moved", f"{found.name}: some steps of its training, for the time that it takes"))
    try:
        whole = estimate_on(run, base, split)
    except (TrainingFailed, OutOfMemory, ModelError) as error:
        return _failed(told, base, error)
    seconds = found.seconds + whole.probe_seconds
    return found.model_copy(update={"training_seconds": whole.altogether, "seconds": seconds})


def _came_to(run: Run, base: ComparedBase) -> str:
    return base.message if base.score is None else value(run.pipeline.spec.evaluate.metrics[0], base.score)


def _higher_is_better(run: Run) -> bool:
    from contender.evaluation.metrics import METRICS

    return METRICS[run.pipeline.spec.evaluate.metrics[0]].higher_is_better
