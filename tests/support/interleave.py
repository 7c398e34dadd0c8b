"""Every order in which a few actors can use one store, up to a bound: a deterministic scheduler over MemoryStore.

Each actor is a greenlet that stops before every operation on the store, and one of them goes on at a time. A schedule is the list of
who went on; `explore` walks all schedules that change from one ready actor to another at most `switches` times against its will.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from greenlet import greenlet

from contender.store import MemoryStore

T = TypeVar("T")
Act = Callable[[MemoryStore], Any]


class Stepped(MemoryStore):
    """The objects of another store, whose every operation waits for its actor's turn."""

    def __init__(self, of: MemoryStore, before_step: Callable[[], None]) -> None:
        super().__init__()
        self._objects, self._lock = of._objects, of._lock
        self._before_step = before_step

    def _happen(self, operation: Any, key: str, act: Callable[[], T]) -> T:
        self._before_step()
        return super()._happen(operation, key, act)


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

    def __init__(self, act: Act, store: MemoryStore) -> None:
        self._store, self._act = store, act
        self._place = greenlet(self._run)
        self.result: Any = None
        self.step()

    @property
    def done(self) -> bool:
        return bool(self._place.dead)

    def step(self) -> None:
        """On to the next operation, or to the end."""
        self._place.switch()

    def _run(self) -> None:
        scheduler = self._place.parent
        try:
            self.result = self._act(Stepped(self._store, scheduler.switch))
        except Exception as error:  # noqa: BLE001 - what an actor ended with is what the test looks at
            self.result = error


def run(
    store: MemoryStore, acts: Sequence[Act], forced: Sequence[int]
) -> tuple[list[Any], list[tuple[int, list[int]]]]:
    """Runs the actors as `forced` says, then on without a switch; what each came to, and (who went, who could have) per step."""
    actors = [Actor(act, store) for act in acts]
    trace: list[tuple[int, list[int]]] = []
    current = 0
    while ready := [index for index, actor in enumerate(actors) if not actor.done]:
        if len(trace) < len(forced):
            current = forced[len(trace)]
        elif current not in ready:
            current = ready[0]
        trace.append((current, ready))
        actors[current].step()
    return [actor.result for actor in actors], trace


def explore(
    make: Callable[[], MemoryStore], acts: Sequence[Act], switches: int
) -> Iterator[tuple[MemoryStore, list[Any], list[int]]]:
    """Every schedule with at most so many unforced switches: the store afterwards, what each actor came to, and the schedule."""
    todo: list[tuple[list[int], int]] = [([], switches)]
    while todo:
        forced, left = todo.pop()
        store = make()
        results, trace = run(store, acts, forced)
        schedule = [who for who, _ in trace]
        yield store, results, schedule
        for at in range(len(forced), len(trace)):
            who, ready = trace[at]
            before = schedule[at - 1] if at else None
            free = before is None or before not in ready  # the one before has ended: going on with anybody is no switch
            if free or left:
                todo += [([*schedule[:at], other], left if free else left - 1) for other in ready if other != who]
