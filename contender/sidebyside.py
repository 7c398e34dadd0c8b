"""Work side by side: several trainings of one run at the same time, each in a thread that waits for its process.

How many that are is the spec's `resources.parallel`; what they come to is the same, in whatever order they end.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from contender import stopping
from contender.errors import Interrupted

T = TypeVar("T")

LOOK_SECONDS = 0.2  # between looks at whether they have ended
KILLED_SECONDS = 5.0  # that threads have to end whose processes were killed


def side_by_side(calls: Sequence[Callable[[], T]], at_once: int) -> list[T]:
    """What the calls give, in their order; one at a time here, and more in threads with copies of this one's context.

    The first that raises ends the others, and a signal all of them: they leave their checkpoints, and are waited for. Raised is what went
    wrong, if anything but having been stopped did, else Interrupted: resumable where any of them is.
    """
    if min(at_once, len(calls)) < 2:
        return [call() for call in calls]
    waiting = deque(enumerate(calls))
    done: dict[int, T] = {}
    errors: dict[int, BaseException] = {}
    together = stopping.Together()

    def work() -> None:
        while waiting and not stopping.asked():
            try:
                at, call = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                done[at] = call()
            except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
                errors[at] = error
                if not stopping.asked():
                    together.end()

    with together.joined():
        threads = [
            threading.Thread(target=copy_context().run, args=(work,), name=f"side-by-side-{at}", daemon=True)
            for at in range(min(at_once, len(calls)))
        ]
    with _ended_with(threads, together):
        while any(_is_at_work(thread, together) for thread in threads):
            for thread in threads:
                thread.join(LOOK_SECONDS / len(threads))
    if errors:
        raise errors[min(errors, key=lambda at: (_weight(errors[at]), at))]
    if len(done) < len(calls):
        raise stopping.interrupted()
    return [done[at] for at in range(len(calls))]


@contextmanager
def _ended_with(threads: Sequence[threading.Thread], together: stopping.Together) -> Iterator[None]:
    """Starts them; whatever ends the wait, such as a second Ctrl-C, ends them without waiting for their checkpoints."""
    try:
        for thread in threads:
            thread.start()
        yield
    except BaseException:
        together.end(signal.SIGKILL)
        for thread in threads:
            thread.join(KILLED_SECONDS)
        raise
    together.end()  # one that only waited to try something again


def _is_at_work(thread: threading.Thread, together: stopping.Together) -> bool:
    return thread.is_alive() and not ((stopping.asked() or together.ended) and stopping.is_resting(thread))


def _weight(error: BaseException) -> int:
    """The lower, the sooner it is told."""
    if not isinstance(error, Interrupted):
        return 0
    return 1 if error.resumable else 2
