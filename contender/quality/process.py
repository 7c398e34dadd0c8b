"""The quality gate in a process of its own: `python -P -m contender.quality.process`.

Great Expectations takes two seconds to import and 250 MB; here they pass beside other work (`ahead`), and are given back before
the training begins. The child imports first, then reads one request: the arguments of `contender.quality.gate.check`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Any

from contender import stopping
from contender.child import Child, Voice, end_with_parent, how_it_ended, importing, requested, told_error
from contender.errors import ContenderError, StageFailed
from contender.files import empty_folder
from contender.printed import Printed
from contender.progress import Note, tell
from contender.records import QualityReport
from contender.workspace import translated_os_errors


@dataclass(frozen=True)
class _Gate:
    """A gate's process, and the file that its output goes to: gone with this process, whatever happens."""

    child: Child
    log: IO[bytes]


_ahead: list[_Gate] = []


@contextmanager
def ahead() -> Iterator[None]:
    """Starts the gate's process now, so that it has imported what it needs when a check inside asks for it."""
    gate = _start()
    _ahead.append(gate)
    try:
        yield
    finally:
        if gate in _ahead:
            _ahead.remove(gate)
            with gate.log:
                gate.child.process.kill()  # it may be in the middle of its imports
                gate.child.close()


def check_apart(rows: Path, out: Path, on_rows: Callable[[int], None] | None = None, **arguments: Any) -> QualityReport:
    """`contender.quality.gate.check` with these arguments, in the gate's process; raises what it raises.

    A process that died without a word is followed by one other: `out` is emptied, and the check begins anew.
    """
    request = {"rows": str(rows), "out": str(out), **arguments}
    try:
        return _checked(request, on_rows)
    except Died as death:
        if stopping.asked():
            raise
        tell(Note("gate", "warned", f"{death.what}; checking again"))
        if out.is_dir():
            empty_folder(out)
        return _checked(request, on_rows)


class Died(StageFailed):
    """The gate's process ended without a word about why."""


def _checked(request: dict[str, Any], on_rows: Callable[[int], None] | None) -> QualityReport:
    gate = _ahead.pop() if _ahead else _start()
    printed = Printed(gate.log, lambda line: tell(Note("gate", "said", line)))

    def hear(count: int) -> None:
        printed.look()
        if on_rows:
            on_rows(count)

    with gate.log:
        try:
            gate.child.ask(request)
            final = gate.child.listen(hear)
        finally:
            code = gate.child.close()
        printed.end()
        if "report" in final:
            return QualityReport.model_validate(final["report"])
        error = told_error(final["error"], StageFailed) if "error" in final else _silent(code)
        gate.log.seek(0)
        error.add_note(gate.log.read().decode(errors="replace"))  # what --debug shows
        raise error


def _start() -> _Gate:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
    return _Gate(Child("contender.quality.process", (), log, os.environ), log)


def _silent(code: int) -> ContenderError:
    return Died(
        f"the quality gate's process {how_it_ended(code)}",
        "Where the machine ran out of memory, free some; run the same command again.",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -P -m contender.quality.process", allow_abbrev=False)
    parser.add_argument("--parent-fd", type=int, required=True)
    parser.add_argument("--progress-fd", type=int, required=True)
    told = parser.parse_args(arguments)
    asked = _asked(told.parent_fd)
    with importing():
        from contender.quality.gate import check
    request = asked.get()
    voice = Voice(told.progress_fd)
    rows, out = Path(request.pop("rows")), Path(request.pop("out"))
    try:
        with translated_os_errors(out):
            report = check(rows, out=out, on_rows=lambda count: voice.say(progress=count), **request)
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happened becomes one sentence
        voice.fail(error if isinstance(error, ContenderError) else _unforeseen(error))
        with suppress(OSError):  # the log may lie on the disk that is full
            traceback.print_exc()
        return 1
    voice.say(report=report.model_dump(mode="json"))
    return 0


def _asked(parent: int) -> Queue[dict[str, Any]]:
    """Where the request will be; a parent that goes away before it asks ends this process, also in the middle of its imports."""
    asked: Queue[dict[str, Any]] = Queue()

    def listen() -> None:
        request = requested(parent)
        if request is None:
            os._exit(0)
        end_with_parent(parent)
        asked.put(request)

    Thread(target=listen, name="request", daemon=True).start()
    return asked


def _unforeseen(error: Exception) -> ContenderError:
    first = next(iter(str(error).strip().splitlines()), "")
    return StageFailed(
        f"the quality gate failed: {type(error).__name__}: {first}",
        "Run it again with --debug and report what it says.",
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # tearing down Great Expectations takes half a second; everything is written
