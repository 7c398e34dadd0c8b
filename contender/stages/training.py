"""A training job of a stage: its attempts, its folder, its checkpoints among workers, and what it tells on the way."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from contender import stopping
from contender.errors import BudgetSpent
from contender.progress import Note, tell
from contender.records import TrainReport
from contender.run import Run

if TYPE_CHECKING:
    from contender.training.launcher import Job, Progress

STOPPING = "asked to stop: a checkpoint is written first; a second Ctrl-C does not wait for it"
TOUCH_SECONDS = 600  # between marks on what a long training reads from, so that nobody cleans it away


Watch = Callable[["Progress"], None]


class StageJob:
    """The training of one stage, by the stage's key: it continues where an interrupted run left its checkpoint.

    `reads`: stages (name, key) that it reads beside those that the run has told of. `watch` hears of all progress; what it raises ends
    the training. `place`: which of several trainings of its stage it is, for people. `may_end`: whether it may end where its budget is
    spent, with the best model so far, if the spec wants that.
    """

    def __init__(
        self,
        run: Run,
        stage: str,
        key: str,
        reads: Iterable[tuple[str, str]] = (),
        watch: Watch | None = None,
        place: str = "",
        may_end: bool = False,
    ) -> None:
        from contender.training.launcher import Attempts
        from contender.training.sharing import SharedCheckpoints

        self._run = run
        self._stage = stage
        self._reads = tuple(reads)
        self._attempts = Attempts(run.workspace.records, key)
        self._folder = run.workspace.job_folder(key)
        shared = run.workspace.shared
        self._shared = SharedCheckpoints(shared, key, self._folder, self._attempts) if shared else None
        self._touched = time.monotonic()
        self._heard = False
        self._watch = watch
        self._place = place
        self._may_end = may_end

    def train(self, job: Job) -> TrainReport:
        """Runs it to its end in a child process; the model lies in `job.output`. See `run_job` for what it raises.

        BudgetSpent also before it begins, where others have left nothing for it.
        """
        from contender.training.launcher import run_job

        resources, spent = self._run.pipeline.spec.resources, self._run.spent
        limits = resources.budget.left(spent).shared_by(self._run.side_by_side)
        if limits.are_reached(0.0, 0.0):
            raise BudgetSpent(
                f"{spent.trainings} trainings have used the budget of {resources.budget.text}, and there is another one to come",
                "Raise resources.budget and run the same command: what is finished is kept.",
            )
        if not self._may_end:
            limits = limits.model_copy(update={"ends_with_best": False})
        if self._shared:
            self._shared.restore()
        sending = self._shared.sending() if self._shared else nullcontext()
        with self._run.hold_device() as environment, sending:
            return run_job(
                job,
                self._folder,
                self._attempts,
                checkpoint=resources.checkpoint,
                limits=limits,
                max_recoveries=resources.max_recoveries,
                environment=environment,
                on_progress=self._told,
                on_checkpoint=self._shared.send if self._shared else None,
                on_recovery=lambda text: tell(Note(self._stage, "warned", text)),
                on_line=lambda line: tell(Note(self._stage, "said", line)),
            )

    def forget(self) -> None:
        """Once its model is kept, nobody continues it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._shared:
            self._shared.forget()
        self._attempts.forget()

    def _told(self, progress: Progress) -> None:
        if stopping.asked() and not self._heard:
            self._heard = True
            tell(Note(self._stage, "warned", STOPPING))
        if time.monotonic() - self._touched > TOUCH_SECONDS:
            self._touched = time.monotonic()
            self._run.workspace.touch([*((one.name, one.key) for one in self._run.stages), *self._reads])
        tell(_note(self._stage, progress, self._run.pipeline.spec.evaluate.metrics[0], self._place))
        if self._watch:
            self._watch(progress)


def trained_told(report: TrainReport) -> str:
    """A training in one line."""
    best = f", best {report.best_metric:.4f} on validation" if report.best_metric is not None else ""
    continued = f", continued from step {report.resumed_from_step:,}" if report.resumed_from_step else ""
    return f"{report.steps:,} steps{continued}{best}, {report.examples_per_second:,.0f} examples/s, {report.device} {report.precision}"


def _left(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 6000 else f"{seconds / 3600:.1f} h left"


def _note(stage: str, progress: Progress, primary: str, place: str) -> Note:
    from contender.judging.words import value

    figures = (
        place,
        progress.phase if progress.phase != "training" else None,
        f"{progress.step:,} of {progress.steps:,} steps" if progress.steps else None,
        f"loss {progress.loss:.3f}" if progress.loss is not None else None,
        *(f"{name} {value(name, found)}" for name, found in progress.metrics.items() if name == primary),
        _left(progress.seconds_left) if progress.seconds_left is not None else None,
        f"{progress.examples_per_second:,.0f} examples/s" if progress.examples_per_second else None,
    )
    return Note(
        stage,
        "moved",
        " · ".join(figure for figure in figures if figure),
        part=progress.phase,
        place=place,
        done=progress.step,
        total=progress.steps,
        figures=progress.metrics,
        kept=progress.checkpoint,
    )
