"""The stage that validates the same options on every fold of the rows in turn. Of its models none is kept, and none is released."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.crossvalidation import CrossValidated, FoldScore, cross_validated
from contender.errors import UsageError
from contender.evaluation.scope import check_scope
from contender.plan import rating, stage_key
from contender.progress import Note, tell
from contender.records import Record, SplitReport, TrainReport, digest
from contender.room import room_for, sharing
from contender.run import Run
from contender.sidebyside import side_by_side
from contender.stages.measuring import score
from contender.stages.model import Training, training
from contender.stages.telling import finish
from contender.workspace import Staged

if TYPE_CHECKING:
    from contender.models import ResolvedBase

STAGE = "cross-validate"
ON = "validation"


class FoldRows(Record):
    """Rows of a fold, and labels that it lacks; see contender/data/folds.py."""

    trained: int
    validated: int
    untrained: tuple[str, ...]
    untried: tuple[str, ...]


class FoldsReport(Record):
    """The folds of a split; the files of the first lie in the folder `1`."""

    folds: tuple[FoldRows, ...]


@dataclass(frozen=True)
class OneFold:
    """A fold of a run: its number, its split, its training, and the key of what it comes to."""

    number: int
    split: Staged[SplitReport]
    training: Training
    key: str


class Folds:
    """The trainings of one run's options on all folds of a split; `score` them, and `forget` what a failed one left.

    `place`: of which trial they are, for people; `prepared`: where trials share prepared rows.
    """

    def __init__(
        self,
        run: Run,
        base: ResolvedBase,
        split: Staged[SplitReport],
        stage: str = STAGE,
        prepared: Path | None = None,
        place: str = "",
    ) -> None:
        self._run, self._split, self._stage, self._prepared = run, split, stage, prepared
        self.folds = [
            self._fold(base, number, ", ".join(part for part in (place, f"fold {number} of {count(run)}") if part))
            for number in range(1, count(run) + 1)
        ]

    @property
    def keys(self) -> list[str]:
        """What the scores follow from."""
        return [one.key for one in self.folds]

    def score(self, at_once: int = 1) -> tuple[CrossValidated, bool]:
        """What the folds come to, and whether all of it was found in the workspace; so many are trained side by side.

        Raises what trainings raise, and DataError.
        """

        def scored(one: OneFold) -> Staged[FoldScore]:
            done = self._run.workspace.stage("fold", one.key, FoldScore, self._scored(one))
            self._run.spent.add(one.key, done.record.seconds, done.record.energy_kwh)
            return done

        found = side_by_side([partial(scored, one) for one in self.folds], at_once)
        spec = self._run.pipeline.spec
        scores = [one.record for one in found]
        told = cross_validated(spec.evaluate.metrics[0], spec.data.split.by, scores)
        return told, all(one.cached for one in found)

    def spend(self, scores: Sequence[FoldScore]) -> None:
        """Counts these folds, the first ones, in the run's budget."""
        for one, found in zip(self.folds, scores, strict=False):
            self._run.spent.add(one.key, found.seconds, found.energy_kwh)

    def forget(self) -> None:
        """What the trainings left that did not come to an end."""
        for one in self.folds:
            one.training.forget()

    @cached_property
    def _made(self) -> FoldsReport:
        return make_folds(self._run, self._split)

    def _fold(self, base: ResolvedBase, number: int, place: str) -> OneFold:
        key = _folds_key(self._run, self._split)
        seen: Any = {"digests": {name: digest([key, number, name]) for name in ("train", ON)}, "rows": {}}
        folder = self._run.workspace.stage_folder("folds", key) / f"{number}"
        split = Staged("folds", key, self._split.record.model_copy(update=seen), folder, cached=False, seconds=0.0)
        prepared = self._prepared / f"fold-{number}" if self._prepared else None
        one = training(self._run, base, split, self._stage, prepared, place=place, may_end=False)
        metrics = self._run.pipeline.spec.evaluate.metrics
        scored = stage_key(
            self._run.pipeline, STAGE, training=one.key, metrics=metrics, rating=rating(self._run.pipeline)
        )
        return OneFold(number, split, one, scored)

    def _scored(self, one: OneFold) -> Callable[[Path], FoldScore]:
        def compute(folder: Path) -> FoldScore:
            made = self._made.folds[one.number - 1]
            rows = {"train": made.trained, ON: made.validated}
            split = replace(one.split, record=one.split.record.model_copy(update={"rows": rows}))
            model = self._run.workspace.stage("train", one.training.key, TrainReport, one.training.compute, share=False)
            one.training.forget()
            scored = score(self._run, model, split, ON, self._stage)
            found = FoldScore(
                number=one.number,
                trained=made.trained,
                rows=made.validated,
                metrics=scored.metrics,
                seconds=model.record.seconds,
                energy_kwh=model.record.energy_kwh,
                untrained=made.untrained,
                untried=made.untried,
            )
            (folder / "fold.json").write_bytes(found.to_bytes())
            for left in (model, scored.predicted):
                shutil.rmtree(left.folder, ignore_errors=True)
            return found

        return compute


def cross_validate(run: Run, base: ResolvedBase, split: Staged[SplitReport]) -> CrossValidated:
    """The scores of the spec's options on all folds; each is found in the workspace, or trained in a process of its own."""
    check_scope(run.pipeline.spec.evaluate.out_of_scope, split.record.label_counts["train"])
    began = time.monotonic()
    room = room_for(run, (base,))
    tell(Note(STAGE, "started", room.text))
    folds = Folds(sharing(run, room), base, split)
    found, cached = folds.score(room.at_once)
    forget_folds(run, split)
    for note in found.notes:
        tell(Note(STAGE, "warned", note))
    finish(run, STAGE, digest(folds.keys)[:32], found.sentence, cached, time.monotonic() - began)
    return found


def make_folds(run: Run, split: Staged[SplitReport]) -> FoldsReport:
    """The folds' files, of the split's training and validation rows and no others; found where they lie already."""
    spec = run.pipeline.spec

    def compute(folder: Path) -> FoldsReport:
        from contender.data.folds import write_folds

        gap = spec.data.split.gap if spec.data.split.by == "time" else None
        made = write_folds(split.folder, count(run), spec.facts, folder, gap)
        return FoldsReport.model_validate({"folds": [vars(fold) for fold in made]})

    return run.workspace.stage("folds", _folds_key(run, split), FoldsReport, compute, share=False).record


def forget_folds(run: Run, split: Staged[SplitReport]) -> None:
    """Once all is scored, nobody reads their files."""
    shutil.rmtree(run.workspace.stage_folder("folds", _folds_key(run, split)), ignore_errors=True)


def count(run: Run) -> int:
    asked = run.pipeline.spec.cross_validation
    if asked is None:
        raise UsageError("the spec has no cross_validation", "Add cross_validation: {folds: 5} to it.")
    return asked.folds


def _folds_key(run: Run, split: Staged[SplitReport]) -> str:
    """Times are no part of the rows' digests, so that with a split by time the split itself decides."""
    rows = {name: split.record.digests[name] for name in ("train", ON)}
    times = {"times": split.key} if run.pipeline.spec.data.split.by == "time" else {}
    return stage_key(run.pipeline, STAGE, rows=rows, **times)
