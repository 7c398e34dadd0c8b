"""The attempts at one deployed run: what a new one learns from those that died, and when there are enough.

    runs/<run id>/00000002.json          create-only, when the attempt begins; of two that live only the newest may go on
    runs/<run id>/points/00000002.json   replaced as it goes: how far it came

They lie in the workspace's records, which every worker sees, and go when the run ends by itself, whatever it came to: whoever starts
it again then begins to count anew. Nothing that a run computes depends on them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from contender.canonical import Record
from contender.errors import AlreadyExists, Interrupted, KeepsDying, Missing, StoreError, StoreUnavailable, TakenOver
from contender.progress import TRAINS, Note, listening
from contender.run import now
from contender.store import Store

SAME_POINT = 3  # deaths in a row at one point: a fourth would be the same
LOOK_SECONDS = 5.0  # between two notes of a training that are written down, and two looks for a newer attempt meanwhile


class RunAttempt(Record):
    """An attempt that began; `writer` makes the record its own also where the store's answer was lost."""

    number: int
    writer: str
    at: str


class Point(Record):
    """How far an attempt came. Stages that were found in the workspace count as finished, so that attempts compare."""

    finished: int = 0
    stage: str = ""
    within: bool = False
    step: int = 0
    checkpoint: int = 0
    interrupted: bool = False
    at: str = ""

    @property
    def reached(self) -> tuple[int, int]:
        """What the next attempt need not do again: stages, and steps of a training."""
        return self.finished, self.checkpoint

    @property
    def place(self) -> tuple[str, bool, int, int]:
        return self.stage, self.within, *self.reached

    @property
    def where(self) -> str:
        if not self.stage:
            return "before its first stage"
        step = f" after step {self.step:,}" if self.within and self.step else ""
        return f"{'in' if self.within else 'after'} {self.stage}{step}"


@contextmanager
def attempted(store: Store, run_id: str, max_recoveries: int, on_recovery: Callable[[str], None]) -> Iterator[None]:
    """The next attempt at a run, around all that it does. Tells `on_recovery` what became of the one before.

    Raises KeepsDying where the run died more than `max_recoveries` times, or SAME_POINT times in a row at one point; TakenOver
    from a note of progress where a newer attempt began meanwhile. A stop that was asked for, and came behind some progress, is no
    death.
    """
    attempts = RunAttempts(store, run_id)
    try:
        if reason := attempts.begin(max_recoveries):
            on_recovery(reason)
        with listening(attempts.hear):
            yield
    except Interrupted:
        attempts.stopped()
        raise
    except TakenOver:
        raise
    except Exception:
        attempts.forget()
        raise
    attempts.forget()


class RunAttempts:
    """The attempts at one run, this one among them."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._folder = f"runs/{run_id}/"
        self._number = 0
        self._point = Point()
        self._wrote = 0.0

    def begin(self, max_recoveries: int) -> str:
        """Takes the next number; why there is this attempt, empty for the first one."""
        earlier = [self._point_of(number) for number in self._numbers()]
        self._take()
        if not earlier:
            return ""
        self._point = Point(checkpoint=max(point.checkpoint for point in earlier))  # where a training goes on from
        deaths = deaths_among(earlier)
        _refuse_when_enough(deaths, max_recoveries)
        last = earlier[-1]
        if not deaths or deaths[-1] is not last:
            return f"attempt {self._number}: the last one was stopped {last.where}; continuing from what exists"
        return (
            f"attempt {self._number}: the last one died {_told(last)}; continuing from what exists "
            f"(recovery {len(deaths)} of {max_recoveries})"
        )

    def hear(self, note: Note) -> None:
        """A listener: writes down how far this attempt came, and ends it where a newer one began."""
        due = note.kind in ("started", "finished") or note.kept is not None
        if not due and (note.stage not in TRAINS or time.monotonic() - self._wrote < LOOK_SECONDS):
            return
        self._point = _moved(self._point, note)
        self._write()
        with suppress(StoreUnavailable, StoreError):
            self._end_if_taken_over()

    def stopped(self) -> None:
        """Writes down that this attempt was asked to stop."""
        self._point = self._point.model_copy(update={"interrupted": True})
        self._write()

    def forget(self) -> None:
        """The run ended by itself."""
        with suppress(StoreUnavailable, StoreError):
            for info in reversed(
                list(self._store.list(self._folder))
            ):  # the points first: they sort behind the numbers
                self._store.delete(info.key)

    def _take(self) -> None:
        self._number = max(self._numbers(), default=0)
        while True:
            self._number += 1
            record = RunAttempt(number=self._number, writer=secrets.token_hex(8), at=now())
            with suppress(AlreadyExists):
                self._store.create(self._key(self._number), record.to_bytes())
                return

    def _write(self) -> None:
        self._wrote = time.monotonic()
        self._point = self._point.model_copy(update={"at": now()})
        with suppress(StoreUnavailable, StoreError):  # the run does not depend on it
            self._store.put(f"{self._folder}points/{self._number:08d}.json", self._point.to_bytes())

    def _end_if_taken_over(self) -> None:
        newer = max(self._numbers(), default=0)
        if newer > self._number:
            raise TakenOver(
                f"attempt {newer} at this run began elsewhere, so attempt {self._number} ends",
                "It was taken for dead: its worker or its network did not answer for some time.",
            )

    def _numbers(self) -> list[int]:
        names = [info.key.removeprefix(self._folder).removesuffix(".json") for info in self._store.list(self._folder)]
        return [int(name) for name in names if name.isdigit()]

    def _point_of(self, number: int) -> Point:
        with suppress(Missing, ValueError):  # it died before it wrote one
            return Point.from_bytes(self._store.get(f"{self._folder}points/{number:08d}.json"))
        return Point(at=RunAttempt.from_bytes(self._store.get(self._key(number))).at)

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08d}.json"


def deaths_among(points: list[Point]) -> list[Point]:
    """Of the ends of attempts, in order, those that were deaths: not a stop that was asked for behind some progress."""
    deaths, best = [], (0, 0)
    for point in points:
        if not (point.interrupted and point.reached > best):
            deaths.append(point)
        best = max(best, point.reached)
    return deaths


def _refuse_when_enough(deaths: list[Point], max_recoveries: int) -> None:
    same = deaths[-SAME_POINT:]
    if len(same) == SAME_POINT and len({death.place for death in same}) == 1:
        raise KeepsDying(
            f"the run died {SAME_POINT} times at the same point, the last time {_told(same[-1])}",
            "What kills it there has to go first. The logs of this run say more, and job.log in the workspace's jobs/ where it "
            "trained. Then retry this run, or: contender run.",
        )
    if len(deaths) > max_recoveries:
        times = "once" if len(deaths) == 1 else f"{len(deaths)} times, the last time"
        raise KeepsDying(
            f"the run died {times} {_told(deaths[-1])}, and resources.max_recoveries is {max_recoveries}",
            "The logs of this run say more, and job.log in the workspace's jobs/ where it trained. To continue from what exists, "
            "retry this run, or: contender run.",
        )


def _moved(point: Point, note: Note) -> Point:
    if note.kind == "finished":
        change = {"stage": note.stage, "within": False, "finished": point.finished + 1, "step": 0}
    elif note.kind == "started":
        change = {"stage": note.stage, "within": True, "step": 0}
    else:
        change = {"step": int(note.done or point.step), "checkpoint": note.kept or point.checkpoint}
    return point.model_copy(update=change)


def _told(death: Point) -> str:
    return f"{death.where} ({death.at[:19].replace('T', ' ')} UTC)"
