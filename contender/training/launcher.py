"""The parent's side of a training job: starts the child, listens to it, and asks it to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contender.child import Child, how_it_ended, told_error
from contender.errors import ContenderError, Interrupted, TrainingFailed
from contender.files import write_durably
from contender.records import TrainReport
from contender.stopping import stoppable
from contender.training.devices import PASSIVE
from contender.training.options import Job, Progress, TrainOptions

__all__ = ["Job", "Progress", "TrainOptions", "run_job"]

CHECKPOINT_SECONDS = 120.0
RESUMABLE, INTERRUPTED = 75, 130

# The child reads local folders only, and reports to nobody.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "true",
}


def run_job(
    job: Job,
    folder: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> TrainReport:
    """Trains `job` in a child process and returns its report; the model lies in `job.output`.

    `folder` holds the job's checkpoints: the same job with the same folder continues where it was stopped. SIGTERM and SIGINT are
    passed on once. Raises Interrupted, resumable where a checkpoint was written; the child's own error otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / "job.json", job.to_bytes())
    arguments = [str(folder.absolute()), "--checkpoint-seconds", str(checkpoint_seconds)]
    with (folder / "job.log").open("ab") as log:
        child = Child("contender.training.job", arguments, log, PASSIVE | os.environ | QUIET)
    try:
        with stoppable(first=child.stop):  # it decides how to end
            final = child.listen(lambda told: on_progress(Progress.model_validate(told)) if on_progress else None)
    finally:
        code = child.close()
    if code == 0 and "report" in final:
        return TrainReport.model_validate(final["report"])
    raise _failure(code, final, folder)


def _failure(code: int, final: dict[str, Any], folder: Path) -> ContenderError:
    if code in (RESUMABLE, INTERRUPTED) or -code in (signal.SIGTERM, signal.SIGINT):
        done = code == RESUMABLE
        what = "the training was interrupted" + (" and left a checkpoint" if done else " before its first checkpoint")
        return Interrupted(what, "Run the same command to continue." if done else "Run the same command again.", done)
    if "error" in final:
        return told_error(final["error"], TrainingFailed)
    return TrainingFailed(
        f"the training process {how_it_ended(code)}: {_last_line(folder)}",
        f"{_see(folder)} Run the same command to continue.",
    )


def _see(folder: Path) -> str:
    return f"See {folder / 'job.log'}."


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / "job.log").read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
