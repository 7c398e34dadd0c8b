"""The training child: `python -P -m contender.training.job <folder> [--parent-fd N] [--progress-fd N] [--attempt JSON]`.

It reads `<folder>/job.json`, holds the lock of the folder, ends with its parent, and tells of its progress in JSON lines:
{"progress": …} many times, then one of {"report": …}, {"error": {kind, what, fix}}, {"spent": true} where it stopped at its budget, or
nothing. Exit codes: 0 a model was written, 75 stopped with a checkpoint, 130 stopped without one, 1 failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from contender.child import Voice, end_with_parent, importing
from contender.errors import ContenderError, DiskFull, OutOfMemory, TrainingFailed
from contender.training.memory import go_first, is_out_of_memory
from contender.training.monitor import Monitor, Stop, Stopped
from contender.training.options import Attempt, Job

RESUMABLE, INTERRUPTED = 75, 130
TORCH_CANNOT_WRITE = ("PytorchStreamWriter failed writing", "unexpected pos")
KEEPING_SECONDS = 3.0  # for a checkpoint, where the parent died: a worker that is asked to end kills its flows


def main(arguments: list[str] | None = None) -> int:
    told = _parser().parse_args(arguments)
    if told.parent_fd is not None:
        end_with_parent(told.parent_fd, KEEPING_SECONDS)
    go_first()
    voice, stop = Voice(told.progress_fd), Stop()
    try:
        stop.listen()
        _run(told.folder, Monitor(voice, stop), Attempt.from_bytes(told.attempt.encode()))
    except Stopped as stopped:
        if stop.spent:
            voice.say(spent=True)
        return RESUMABLE if stopped.resumable else INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happened becomes one sentence
        voice.fail(_as_error(error))
        with suppress(OSError):  # the log may lie on the disk that is full
            traceback.print_exc()
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -P -m contender.training.job", allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent-fd", type=int)
    parser.add_argument("--progress-fd", type=int)
    parser.add_argument("--attempt", default="{}", help="contender.training.options.Attempt as JSON")
    return parser


def _run(folder: Path, monitor: Monitor, attempt: Attempt) -> None:
    from filelock import FileLock

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    with FileLock(folder / "lock"):  # a predecessor may still be ending
        monitor.phase("starting")
        with importing():
            from contender.training.finetune import finetune
        job = Job.from_bytes((folder / "job.json").read_bytes())
        report = finetune(job, folder, monitor, attempt)
        monitor.voice.say(report=report.model_dump(mode="json"))


def _as_error(error: BaseException) -> ContenderError:
    import errno

    if isinstance(error, ContenderError):
        return error
    no_space = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    full = isinstance(error, OSError) and error.errno in no_space
    # safetensors has an error of its own, and the system's words; torch's writer says that it could not write, and not why.
    if full or any(words in str(error) for words in (*map(os.strerror, no_space), *TORCH_CANNOT_WRITE)):
        return DiskFull(
            f"no space left for the training job: {error}", "Free some space and run the same command: it continues."
        )
    first = next(iter(str(error).strip().splitlines()), "")
    if is_out_of_memory(error):
        said = ". ".join(first.split(". ")[:2])  # CUDA goes on about other processes and the allocator's settings
        return OutOfMemory(f"the training ran out of memory: {said}", "Lower train.max_length, or take a smaller base.")
    return TrainingFailed(f"the training failed: {type(error).__name__}: {first}", "The job's log has the details.")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Tearing down torch and its threads takes a second and can only fail; everything is written.
    os._exit(code)
