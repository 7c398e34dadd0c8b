"""How long work tells of its progress, whoever listens: a terminal, the Prefect UI, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from contender import stopping
from contender.errors import ContenderError

# What a finished stage means for its run: it goes on, it stops, or the champion stays.
Finding = Literal["good", "bad", "open"]


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
    finding: Finding = "good"  # of a finished stage
    key: str = ""  # of a finished stage in the workspace, or the release
    part: str = ""  # of a stage that moves: reading source, saving
    place: str = ""  # of several works of a stage, maybe side by side: which of them moves, or has said that it ended
    kept: int | None = None  # of a training: the step of a checkpoint that was written just now


# Stages that a training is under way in: it stops by itself, at a checkpoint.
TRAINS = ("selection", "search", "cross-validate", "train", "compress")

Listener = Callable[[Note], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def tell(note: Note, *, stops: bool = True) -> None:
    """Sends a note to whoever listens. Every note is a point where a run may stop: Interrupted where a signal asked for it.

    But for those of a training under way: it stops by itself, at a checkpoint. With `stops=False` no listener can stop it either.
    """
    if stops and (note.stage not in TRAINS or note.kind not in ("moved", "warned", "said")):
        stopping.check()
    for listener in _listeners.get():
        with nullcontext() if stops else suppress(ContenderError):
            listener(note)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends every note from inside the block to `listener` too."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)
