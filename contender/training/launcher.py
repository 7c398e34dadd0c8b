"""The parent's side of a training job: starts the child, listens to it, asks it to stop, and starts another where it died.

A child that died, of a signal or without a word, is continued from its newest checkpoint. One that ran out of memory is continued
with fewer examples at once and as many per step. Either ends where it helps no more, with the reason.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from contender import stopping
from contender.child import Child, how_it_ended, told_error
from contender.errors import BudgetSpent, ContenderError, Interrupted, OutOfMemory, TrainingFailed
from contender.files import write_durably
from contender.printed import Printed
from contender.records import TrainReport
from contender.stopping import stoppable
from contender.training.attempts import Attempts
from contender.training.checkpoints import Checkpoints
from contender.training.devices import PASSIVE
from contender.training.memory import oom_kills, smaller
from contender.training.options import Attempt, CheckpointOptions, Job, Limits, Progress, TrainOptions, Trial

__all__ = [
    "Attempts",
    "CheckpointOptions",
    "Job",
    "Launcher",
    "Limits",
    "Progress",
    "Recovery",
    "Running",
    "TrainOptions",
    "Trial",
    "run_job",
]

RESUMABLE, INTERRUPTED = 75, 130
SAME_POINT = 3  # deaths in a row without a checkpoint in between: a fourth would be the same

# The child reads local folders only, and reports to nobody.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "true",
}
REPEATABLE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # what torch's deterministic algorithms ask of cuBLAS

OnProgress = Callable[[Progress], None]


class Running(Protocol):
    """An attempt at a job that was started, wherever that is. Its three methods are all that is asked of it.

    It ends when whoever started it is gone, and no later attempt begins before it has ended (`Attempts` tells the two apart).
    """

    def listen(self, on_progress: Callable[[Any], None]) -> dict[str, Any]:
        """Hands on each Progress as JSON, in order, until there is no more; gives the answer: {"report": TrainReport},
        {"error": {kind, what, fix}}, {"spent": true} where it stopped at its budget, or {} where it ended without a word."""

    def stop(self, number: int) -> None:
        """Asks it to stop, from any thread and at most once: it leaves a checkpoint in the job's folder. SIGKILL: at once, without."""

    def close(self) -> int:
        """Waits for its end, and gives its exit code: 0 a model was written, 75 stopped with a checkpoint, 130 without, 1 failed; negative
        for the signal that killed it."""


class Launcher(Protocol):
    """Starts `contender.training.job`, on whatever machine.

    It is handed the job's folder, with `job.json` in it, what this attempt is told, where to write what the process prints, and its whole
    environment. Of the file system the process sees that folder and the paths in the Job, and nothing else of whoever started it.
    """

    def __call__(self, folder: Path, told: Attempt, log: IO[bytes], environment: Mapping[str, str]) -> Running: ...


def start_here(folder: Path, told: Attempt, log: IO[bytes], environment: Mapping[str, str]) -> Running:
    """A process of this machine's, beside this one."""
    arguments = [str(folder.absolute()), "--attempt", told.to_bytes().decode()]
    return Child("contender.training.job", arguments, log, environment)


def run_job(
    job: Job,
    folder: Path,
    attempts: Attempts,
    *,
    checkpoint: CheckpointOptions | None = None,
    limits: Limits | None = None,
    trial: Trial | None = None,
    max_recoveries: int = 0,
    environment: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
    on_recovery: Callable[[str], None] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    launch: Launcher = start_here,
) -> TrainReport:
    """Trains `job` in a process that `launch` starts and returns its report; the model lies in `job.output`.

    `folder` holds the job's checkpoints: the same job with the same folder continues where it was stopped; `on_checkpoint` hears
    of each new one's folder. A child that died is started again, at most `max_recoveries` times, and `on_recovery` told why. `on_line`
    hears what the child prints. `environment` is added to the child's. SIGTERM and SIGINT are passed on once. At its `limits`
    the child leaves a checkpoint. Raises BudgetSpent then, where they do not end it with a model; Interrupted, resumable where a
    checkpoint is kept; OutOfMemory; TrainingFailed; the child's own error otherwise. A `trial` ends early, with a report and no model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / "job.json", job.to_bytes())
    before = attempts.newest()
    recovery = Recovery(job, folder, max_recoveries, before.micro_batch_size if before else job.options.batch_size)
    while True:
        if stopping.asked():
            raise _interrupted(folder)
        told = Attempt(
            number=attempts.take(recovery.micro_batch_size),
            micro_batch_size=recovery.micro_batch_size,
            checkpoint=checkpoint or CheckpointOptions(),
            limits=limits or Limits(),
            trial=trial,
        )
        try:
            report = _attempt(job, folder, told, environment or {}, on_progress, on_checkpoint, on_line, launch)
        except OutOfMemory as error:
            reason = recovery.from_memory(error)
        except Died as death:
            reason = recovery.from_death(death)
        else:
            return report.model_copy(update={"recoveries": recovery.deaths})
        if on_recovery:
            on_recovery(reason)


class Died(TrainingFailed):
    """The child ended without a word about why."""


class Recovery:
    """What became of the attempts of this run so far, and whether another one may help."""

    def __init__(self, job: Job, folder: Path, max_recoveries: int, micro_batch_size: int) -> None:
        self.deaths = 0
        self.micro_batch_size = micro_batch_size
        self._batch_size = job.options.batch_size
        self._checkpoints = Checkpoints(folder / "checkpoints", "")
        self._most = max_recoveries
        self._at_step: list[int] = []  # the newest checkpoint's at each death

    def from_memory(self, error: OutOfMemory) -> str:
        """Why there will be another attempt; raises the error where memory does not even hold one example."""
        less = smaller(self._batch_size, self.micro_batch_size)
        if less is None:
            raise OutOfMemory(
                f"{error.what.rstrip('.')}; one example at a time does not fit either",
                "Lower train.max_length, take a smaller model.base, train with model.method: head, or use a device with more memory.",
            ) from error
        self.micro_batch_size = less
        return f"out of memory: continuing with {less} examples at once, {self._batch_size} per step as before"

    def from_death(self, death: Died) -> str:
        """Why there will be another attempt; raises TrainingFailed where there were enough."""
        self.deaths += 1
        step = self._checkpoints.newest_step() or 0
        self._at_step.append(step)
        where = f"step {step:,}" if step else "the beginning, for there is no checkpoint yet"
        if self.deaths > self._most:
            times = f"{self.deaths} times in this run, the last time " if self.deaths > 1 else ""
            raise TrainingFailed(f"{times}{death.what}", f"{death.fix} Run the same command to continue from {where}.")
        if self._at_step[-SAME_POINT:] == [step] * SAME_POINT:
            raise TrainingFailed(
                f"the training died {SAME_POINT} times at the same point, behind step {step:,}; the last time {death.what}",
                f"{death.fix} What kills it there has to go first: a fourth attempt would end the same way.",
            )
        return f"{death.what}; continuing from {where} (recovery {self.deaths} of {self._most})"


def _attempt(
    job: Job,
    folder: Path,
    told: Attempt,
    environment: Mapping[str, str],
    on_progress: OnProgress | None,
    on_checkpoint: Callable[[Path], None] | None,
    on_line: Callable[[str], None],
    launch: Launcher,
) -> TrainReport:
    def hear(message: Any) -> None:
        printed.look()
        progress = Progress.model_validate(message)
        if progress.checkpoint is not None and on_checkpoint:
            on_checkpoint(Checkpoints(folder / "checkpoints", "").path(progress.checkpoint))
        if on_progress:
            on_progress(progress)

    kills = oom_kills()
    given = PASSIVE | os.environ | QUIET | (REPEATABLE if job.options.deterministic else {}) | dict(environment)
    with (folder / "job.log").open("ab+") as log:
        printed = Printed(log, on_line)
        child = launch(folder, told, log, given)
        try:
            with stoppable(first=child.stop):  # it decides how to end
                final = child.listen(hear)
        finally:
            code = child.close()
            printed.end()
    if code == 0 and "report" in final:
        return TrainReport.model_validate(final["report"])
    if code == RESUMABLE and "spent" in final:
        raise _spent(told.limits, folder)
    raise _failure(code, final, folder, ran_out=kills is not None and (oom_kills() or 0) > kills)


def _failure(code: int, final: dict[str, Any], folder: Path, ran_out: bool) -> ContenderError:
    if code in (RESUMABLE, INTERRUPTED):
        return _interrupted(folder)
    if "error" in final:
        return told_error(final["error"], TrainingFailed)
    # Asked while Python starts, before there is a handler, it ends by the signal, or with code 1 and a KeyboardInterrupt.
    if stopping.asked():
        return _interrupted(folder)
    see = f"See {folder / 'job.log'}."
    if ran_out and -code == signal.SIGKILL:
        return OutOfMemory("the kernel ended the training for want of memory", see)
    said = _last_line(folder)
    return Died(f"the training process {how_it_ended(code)}{f': {said}' if said else ''}", see)


def _spent(limits: Limits, folder: Path) -> BudgetSpent:
    step = Checkpoints(folder / "checkpoints", "").newest_step() or 0
    return BudgetSpent(
        f"the training has used its budget of {limits.text}, and its checkpoint waits at step {step:,}",
        "Raise resources.budget and run the same command: it continues from there.",
    )


def _interrupted(folder: Path) -> Interrupted:
    step = Checkpoints(folder / "checkpoints", "").newest_step()
    if step is None:
        return Interrupted("the training was interrupted before its first checkpoint", "Run the same command again.")
    goes_on = f"Run the same command to continue from step {step:,}."
    return Interrupted("the training was interrupted and left a checkpoint", goes_on, True)


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / "job.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
