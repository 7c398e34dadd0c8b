"""Every order in which a few actors can use one store, up to a bound: a deterministic scheduler over MemoryStore.

Each actor is a greenlet that stops before every operation on the store, and one of them goes on at a time. A schedule is the list of
who went on; `explore` walks all schedules that change from one ready actor to another at most `switches` times against its will.

Schedules that differ in the order of what does not touch each other come to the same place: where every actor has seen the same, and
every object was written by the same operation, what follows is the same, and is walked once. Actors must be deterministic but for
times and random names inside of objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from greenlet import greenlet

from contender.store import MemoryStore

T = TypeVar("T")
RANDOM = re.compile(r"[0-9a-f]{32}")
Act = Callable[[MemoryStore], Any]


@dataclass(frozen=True)
class Met:
    """What all actors share: who wrote each object, and who gave each random name, by actor and step."""

    writers: dict[str, tuple[int, int]] = field(default_factory=dict)
    names: dict[str, tuple[int, int]] = field(default_factory=dict)


class Stepped(MemoryStore):
    """The objects of another store, whose every operation waits for its actor's turn.

    `seen`: a digest of what this actor did and saw so far, values by the operation that wrote them.
    """

    def __init__(self, of: MemoryStore, before_step: Callable[[], None], name: int, met: Met) -> None:
        super().__init__()
        self._objects, self._lock = of._objects, of._lock
        self._before_step = before_step
        self._name, self._writers, self._names = name, met.writers, met.names
        self._steps = 0
        self.seen = 0

    def _happen(self, operation: Any, key: str, act: Callable[[], T]) -> T:
        self._before_step()
        self._steps += 1
        # A put and a delete see nothing.
        named = self._named(key)
        found: Any = None if operation in ("put", "delete") else self._writers.get(named, key in self._objects)
        try:
            result = super()._happen(operation, key, act)
            if isinstance(result, list):
                found = tuple((self._named(info.key), self._writers.get(self._named(info.key))) for info in result)
            if operation == "delete":
                self._writers[named] = (self._name, self._steps)
            return result
        finally:
            self.seen = hash((self.seen, operation, named, found))

    def _write(self, key: str, data: bytes) -> None:
        super()._write(key, data)
        self._writers[self._named(key)] = (self._name, self._steps)

    def _named(self, key: str) -> str:
        """The key, a random name in it replaced by who used it first, and when."""
        return RANDOM.sub(lambda match: str(self._names.setdefault(match[0], (self._name, self._steps))), key)


class AtOnce:
    """Stands in for the ThreadPoolExecutor of the transfers: an actor does one thing at a time, or its steps would have no order."""

    def __init__(self, *_: Any, **__: Any) -> None:
        return

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, act: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(act(*arguments))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future

    def shutdown(self, **_: Any) -> None:
        return


class Actor:
    """One act, between two operations of its own."""

    def __init__(self, act: Act, store: MemoryStore, name: int, met: Met) -> None:
        self._act = act
        self._place = greenlet(self._run)
        self._store = Stepped(store, self._place.parent.switch, name, met)
        self.result: Any = None
        self.step()

    @property
    def done(self) -> bool:
        return bool(self._place.dead)

    @property
    def seen(self) -> int:
        return self._store.seen

    def step(self) -> None:
        """On to the next operation, or to the end."""
        self._place.switch()

    def _run(self) -> None:
        try:
            self.result = self._act(self._store)
        except Exception as error:  # noqa: BLE001 - what an actor ended with is what the test looks at
            self.result = error


@dataclass(frozen=True)
class Step:
    """One step of a schedule: who went on, who could have, and where all were before it."""

    who: int
    ready: list[int]
    place: int


def run(store: MemoryStore, acts: Sequence[Act], forced: Sequence[int]) -> tuple[list[Any], list[Step]]:
    """Runs the actors as `forced` says, then on without a switch; what each came to, and the steps."""
    met = Met()
    actors = [Actor(act, store, name, met) for name, act in enumerate(acts)]
    trace: list[Step] = []
    current = 0
    while ready := [index for index, actor in enumerate(actors) if not actor.done]:
        if len(trace) < len(forced):
            current = forced[len(trace)]
        elif current not in ready:
            current = ready[0]
        place = hash((tuple(actor.seen for actor in actors), frozenset(met.writers.items())))
        trace.append(Step(current, ready, place))
        actors[current].step()
    return [actor.result for actor in actors], trace


def explore(
    make: Callable[[], MemoryStore], acts: Sequence[Act], switches: int
) -> Iterator[tuple[MemoryStore, list[Any], list[int]]]:
    """Every schedule with at most so many unforced switches: the store afterwards, what each actor came to, and the schedule.

    Of schedules that come to the same place, one alone goes on from there: the one with most switches left.
    """
    todo: list[tuple[list[int], int]] = [([], switches)]
    walked: dict[tuple[int, int | None], int] = {}  # place, and who would go on there without a switch → switches left
    while todo:
        forced, left = todo.pop()
        store = make()
        results, trace = run(store, acts, forced)
        schedule = [step.who for step in trace]
        yield store, results, schedule
        for at in range(len(forced), len(trace)):
            step = trace[at]
            before = schedule[at - 1] if at and schedule[at - 1] in step.ready else None
            if walked.get((step.place, before), -1) >= left:
                break
            walked[step.place, before] = left
            if before is None or left:  # the one before has ended: going on with anybody is no switch
                more = left if before is None else left - 1
                todo += [([*schedule[:at], other], more) for other in step.ready if other != step.who]
