"""No training outlives its parent: the child ends its whole process group when the parent is gone.

The parent holds the write end of a pipe and never writes. When it dies, however it dies, the kernel closes that end, and reading
gives end-of-file. A copy of the write end in an unrelated fork of the parent would hide that, so the parent's id is watched too.
"""

from __future__ import annotations

import os
import select
import signal
import threading

LOOK_EVERY = 1.0  # seconds


def end_with_parent(descriptor: int) -> None:
    """Starts the watch over the read end `descriptor`; returns at once."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=(descriptor, parent), name="parent-guard", daemon=True).start()


def _watch(descriptor: int, parent: int) -> None:
    while os.getppid() == parent:
        ready, _, _ = select.select([descriptor], [], [], LOOK_EVERY)
        if ready and not os.read(descriptor, 1):
            break
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)  # data-loader workers too
    os.kill(os.getpid(), signal.SIGKILL)
