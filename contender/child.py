"""A process of ours beside this one: it ends with its parent, and speaks to it in JSON lines. Both sides of the two pipes.

The parent holds the write end of one pipe. When it dies, however it dies, the kernel closes that end, and the child reads
end-of-file: `end_with_parent` then ends its whole process group, at once or within seconds. A copy of the write end in an unrelated
fork of the parent would hide that, so the parent's id is watched too. The other pipe carries what the child says, one JSON object a
line; the last one that is no progress is its answer: {"report": …}, {"error": {kind, what, fix}}, or nothing where it was ended.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from contender import errors
from contender.errors import ContenderError

LOOK_EVERY = 1.0  # seconds between looks at the parent's id
REQUEST_BYTES = 64 << 20  # more on one line is no request of ours


@contextmanager
def importing() -> Iterator[None]:
    """For imports of thousands of modules: collecting garbage among them finds nothing, and no later collection looks at them."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Child:
    """The parent's side: a running `python -P -m module …`, in a process group of its own, its output in `log`."""

    def __init__(self, module: str, arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> None:
        parent_end, self._held = os.pipe()
        self._said, progress_end = os.pipe()
        command = [sys.executable, "-P", "-m", module, *arguments]
        command += ["--parent-fd", str(parent_end), "--progress-fd", str(progress_end)]
        self._asked = False
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(parent_end, progress_end),
                process_group=0,  # Ctrl-C reaches the parent alone
                env=_environment(environment),
            )
        except BaseException:
            os.close(self._held)
            os.close(self._said)
            raise
        finally:
            os.close(parent_end)
            os.close(progress_end)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Sends the one line that `requested` reads; a child that is gone already tells so by its silence."""
        line = json.dumps(request).encode() + b"\n"
        with suppress(BrokenPipeError):
            while line:
                line = line[os.write(self._held, line) :]

    def listen(self, on_progress: Callable[[Any], None]) -> dict[str, Any]:
        """Hands on progress until the child is silent; gives its last other message, a report or an error."""
        final: dict[str, Any] = {}
        try:
            with os.fdopen(self._said, "rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "progress" in message:
                        on_progress(message["progress"])
                    else:
                        final = message
        except BaseException:
            if self._asked:
                self.process.kill()  # it was asked once already
            self.stop(signal.SIGTERM)  # whoever interrupts us wants the child to stop, too, with its work kept
            self.process.wait()
            raise
        return final

    def stop(self, number: int) -> None:
        """Passes a signal on, once: the child decides how to end; SIGKILL whenever it comes."""
        if not self._asked or number == signal.SIGKILL:
            self._asked = True
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def close(self) -> int:
        """Lets go: a child that still runs ends. Its exit code, negative for a signal."""
        with suppress(OSError):
            os.close(self._held)
        return self.process.wait()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def told_error(told: Mapping[str, str], unknown: type[ContenderError]) -> ContenderError:
    """The error that a child named, as one of ours."""
    kind = getattr(errors, told["kind"], None)
    fits = isinstance(kind, type) and issubclass(kind, ContenderError) and kind is not errors.Interrupted
    return (kind if fits and kind else unknown)(told["what"], told["fix"])


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


class Voice:
    """The child's side: sends JSON lines to the parent; silent when there is none."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        if self.descriptor is None:
            return
        line = json.dumps(message, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self.descriptor, line) :]
            except OSError:  # the parent is gone; the watch ends this process
                self.descriptor = None

    def fail(self, error: ContenderError) -> None:
        self.say(error={"kind": type(error).__name__, "what": error.what, "fix": error.fix})


def requested(descriptor: int) -> dict[str, Any] | None:
    """The line that the parent's `ask` sent; None where it went away without asking."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(descriptor, 1 << 16)
        if not part or len(line) > REQUEST_BYTES:
            return None
        line += part
    found: dict[str, Any] = json.loads(line)
    return found


def end_with_parent(descriptor: int, grace: float = 0.0) -> None:
    """Starts the watch over the read end `descriptor`; returns at once.

    With `grace`, in seconds, the death of the parent is SIGTERM first, and the end so much later for what has not ended by itself.
    """
    parent = os.getppid()
    threading.Thread(target=_watch, args=(descriptor, parent, grace), name="parent-watch", daemon=True).start()


def _watch(descriptor: int, parent: int, grace: float) -> None:
    while os.getppid() == parent:
        ready, _, _ = select.select([descriptor], [], [], LOOK_EVERY)
        if ready and not os.read(descriptor, 1):
            break
    if grace:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)  # data-loader workers too
    os.kill(os.getpid(), signal.SIGKILL)
