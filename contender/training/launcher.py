"""The parent's side of a training job: starts the child, listens to it, and asks it to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from contender import errors
from contender.errors import ContenderError, Interrupted, TrainingFailed
from contender.files import write_durably
from contender.records import TrainReport
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
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
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
    child = _Child(folder, checkpoint_seconds)
    with child.passing_signals():
        final = child.listen(on_progress)
        code = child.process.wait()
    if code == 0 and "report" in final:
        return TrainReport.model_validate(final["report"])
    raise _failure(code, final, folder)


class _Child:
    """A running training process and the two pipes to it."""

    def __init__(self, folder: Path, checkpoint_seconds: float) -> None:
        parent_end, self._held = os.pipe()  # the child reads end-of-file from it when this process is gone
        self._progress, progress_end = os.pipe()
        command = [sys.executable, "-P", "-m", "contender.training.job", str(folder.absolute())]
        command += ["--parent-fd", str(parent_end), "--progress-fd", str(progress_end)]
        command += ["--checkpoint-seconds", str(checkpoint_seconds)]
        self._asked = False
        try:
            with (folder / "job.log").open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(parent_end, progress_end),
                    process_group=0,
                    env=_environment(os.environ),
                )
        except BaseException:
            os.close(self._held)
            os.close(self._progress)
            raise
        finally:
            os.close(parent_end)
            os.close(progress_end)

    def listen(self, on_progress: Callable[[Progress], None] | None) -> dict[str, Any]:
        """Hands on progress until the child is silent; gives its last message, a report or an error."""
        final: dict[str, Any] = {}
        try:
            with os.fdopen(self._progress, "rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "progress" not in message:
                        final = message
                    elif on_progress is not None:
                        on_progress(Progress.model_validate(message["progress"]))
        except BaseException:
            self.stop(signal.SIGTERM)  # whoever interrupts us wants the child to stop, too, with its work kept
            self.process.wait()
            raise
        return final

    def stop(self, number: int) -> None:
        if not self._asked:
            self._asked = True
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    @contextmanager
    def passing_signals(self) -> Iterator[None]:
        """While inside, SIGTERM and SIGINT go to the child and only there: it decides how to end."""
        ours = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if ours else ()

        def forward(number: int, frame: FrameType | None) -> None:
            self.stop(number)

        before = {number: signal.signal(number, forward) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._held)
            self.process.wait()


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in inherited.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return PASSIVE | kept | QUIET


def _failure(code: int, final: dict[str, Any], folder: Path) -> ContenderError:
    if code in (RESUMABLE, INTERRUPTED) or -code in (signal.SIGTERM, signal.SIGINT):
        done = code == RESUMABLE
        what = "the training was interrupted" + (" and left a checkpoint" if done else " before its first checkpoint")
        return Interrupted(what, "Run the same command to continue." if done else "Run the same command again.", done)
    told = final.get("error")
    if told is not None:
        kind = getattr(errors, told["kind"], TrainingFailed)
        return (
            kind(told["what"], told["fix"] or _see(folder)) if kind is not Interrupted else TrainingFailed(told["what"])
        )
    how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return TrainingFailed(
        f"the training process {how}: {_last_line(folder)}", f"{_see(folder)} Run the same command to continue."
    )


def _see(folder: Path) -> str:
    return f"See {folder / 'job.log'}."


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / "job.log").read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
