"""Being asked to stop, by Ctrl-C or SIGTERM: noted at once, acted on where nothing is half done.

An exception out of a signal handler can surface anywhere: inside an import, a lock or a library that swallows it. So the first
signal is only noted, and `check` raises; `contender.progress.tell` calls it, which every stage does as it goes. A second signal
raises KeyboardInterrupt at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from contender.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_EVERY = 1.0  # seconds between looks at the parent's id

Stop = Callable[[int], None]

_asked: list[signal.Signals] = []
_nested = 0
_stops: list[Stop] = []  # of all that is at work, in whatever thread
_resting: set[int] = set()  # threads


class Together:
    """Work in several threads that stops as one: those whose context was copied inside `with`."""

    def __init__(self) -> None:
        self.outer = _together.get()
        self.ended = False
        self.stops: list[Stop] = []

    def end(self, number: int = signal.SIGTERM) -> None:
        """Asks all that is at work in any of them to stop; what begins there later finds itself asked already."""
        self.ended = True
        for stop in [*self.stops]:
            stop(number)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Inside, this context and its copies belong to it."""
        token = _together.set(self)
        try:
            yield
        finally:
            _together.reset(token)


_together: ContextVar[Together | None] = ContextVar("together", default=None)


@contextmanager
def stoppable(first: Stop | None = None) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM are noted for `check`, and the first one is handed to `first`, a second one as SIGKILL.

    May be nested: the inner one takes the signals, also from a library that installed handlers of its own meanwhile. Python handles
    signals in the main thread alone; from there they reach the `first` of every thread.
    """
    if threading.current_thread() is not threading.main_thread():
        with _reached(first):
            yield
        return
    global _nested
    before = {number: signal.signal(number, _hear) for number in SIGNALS}
    _nested += 1
    try:
        with _reached(first):
            yield
    finally:
        _nested -= 1
        for number, handler in before.items():
            signal.signal(number, handler)
        if not _nested:
            _asked.clear()


def _hear(number: int, frame: FrameType | None) -> None:
    _asked.append(signal.Signals(number))
    again = len(_asked) > 1
    for stop in [*_stops]:
        stop(signal.SIGKILL if again else number)
    if again:
        raise KeyboardInterrupt
    if threading.get_ident() in _resting:
        raise interrupted()


@contextmanager
def _reached(stop: Stop | None) -> Iterator[None]:
    if stop is None:
        yield
        return
    known = [_stops, *(one.stops for one in _around())]
    for stops in known:
        stops.append(stop)
    try:
        if asked():
            stop(_asked[0] if _asked else signal.SIGTERM)  # it came while nobody had anything to stop
        yield
    finally:
        for stops in known:
            stops.remove(stop)


def _around() -> Iterator[Together]:
    one = _together.get()
    while one is not None:
        yield one
        one = one.outer


def rest(resting: bool) -> None:
    """Says whether nothing is at work in this thread and it only waits: then a signal need not be noted for later."""
    (_resting.add if resting else _resting.discard)(threading.get_ident())


def is_resting(thread: threading.Thread) -> bool:
    return thread.ident in _resting


def asked() -> bool:
    """Whether a signal asked to stop, or the end of what this works together with."""
    return bool(_asked) or any(one.ended for one in _around())


def check() -> None:
    """Raises Interrupted where something asked to stop."""
    if asked():
        raise interrupted()


def interrupted() -> Interrupted:
    by = _asked[0].name if _asked and _asked[0] != signal.SIGINT else "Ctrl-C"
    return Interrupted(f"stopped by {by}", "The same command continues: finished stages are kept.")


@contextmanager
def stopped_with_parent() -> Iterator[None]:
    """Inside, the death of the process that started this one counts as SIGTERM, unless a signal came already.

    Nobody would read this one's output then, nor pass on to it that somebody wants it stopped.
    """
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EVERY):
            if os.getppid() != parent:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for descriptor in (1, 2):  # to write to a pipe that nobody reads ends some libraries' processes
                    os.dup2(nowhere, descriptor)
                if not asked():
                    os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()
