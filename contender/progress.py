"""How long work tells of its progress, whoever listens: a terminal, the Prefect UI, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from contender import stopping


@dataclass(frozen=True)
class Note:
    """One thing worth showing about a stage: it started, it moved, it finished; `warned` is worth a line that stays.

    `said`: a line that a process of the stage printed, such as a library's warning; for logs.
    """

    stage: str
    kind: Literal["started", "moved", "warned", "said", "finished"]
    text: str = ""
    done: float | None = None
    total: float | None = None
    cached: bool = False
    seconds: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    kept: int | None = None  # of a training: the step of a checkpoint that was written just now


Listener = Callable[[Note], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def tell(note: Note) -> None:
    """Sends a note to whoever listens. Every note is a point where a run may stop: Interrupted where a signal asked for it."""
    if note.stage != "train" or note.kind not in (
        "moved",
        "warned",
        "said",
    ):  # a training stops by itself, at a checkpoint
        stopping.check()
    for listener in _listeners.get():
        listener(note)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends every note from inside the block to `listener` too."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)
