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
from types import FrameType

from contender.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_EVERY = 1.0  # seconds between looks at the parent's id

_asked: list[signal.Signals] = []
_nested = 0
_resting = False


@contextmanager
def stoppable(first: Callable[[int], None] | None = None) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM are noted for `check`, and the first one is handed to `first`.

    May be nested: the inner one takes the signals, also from a library that installed handlers of its own meanwhile. Does nothing
    but in the main thread, where Python handles signals.
    """
    global _nested
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:
        _asked.append(signal.Signals(number))
        if len(_asked) > 1:
            raise KeyboardInterrupt
        if _resting:
            raise interrupted()
        if first:
            first(number)

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    _nested += 1
    try:
        if _asked and first:
            first(_asked[0])  # it came while nobody had anything to stop
        yield
    finally:
        _nested -= 1
        for number, handler in before.items():
            signal.signal(number, handler)
        if not _nested:
            _asked.clear()


def rest(resting: bool) -> None:
    """Says whether nothing is at work and this process only waits: then a signal need not be noted for later."""
    global _resting
    _resting = resting


def asked() -> bool:
    """Whether a signal asked to stop."""
    return bool(_asked)


def check() -> None:
    """Raises Interrupted where a signal asked to stop."""
    if _asked:
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
