"""What every stage's task has in common: which errors are tried again, for how long, and how a found output is named.

Results are never persisted by Prefect: a hit there would return before our code can see that files are gone. The workspace is
the only cache, and a task that found its output there ends in a Completed state named Cached.

The retries are Prefect's own, so that its UI shows each attempt. Prefect sleeps between them in the thread that ran the task, for a
flow the main one: a signal raises there at once, because `stopping.rest` says that nothing is half done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.states import Completed

from contender import stopping
from contender.errors import ContenderError, Transient
from contender.progress import Note, tell
from contender.workspace import Staged

P = ParamSpec("P")
T = TypeVar("T")

# From a task's first failure on: a store that restarts is back by then, and a training waits behind it.
PATIENCE_SECONDS = 300.0
FIRST_DELAY, LONGEST_DELAY = 2.0, 30.0
JITTER = 0.5  # of a delay, more or less at random, so that runs do not return in step

_first_failures: dict[Any, float] = {}  # by task run; of those that still fail


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed: our own Transient errors, wherever they stand in the chain of causes."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, Transient):
            return True
        seen.add(id(current))
        current = current.__cause__
    return False


def patience_left(task_run: Any, patience: float | None = None) -> float:
    """Seconds from now on in which this task run is tried again; what never failed before fails now."""
    patience = PATIENCE_SECONDS if patience is None else patience
    if task_run is None:  # called outside a flow: nobody tries it again
        return patience
    first = _first_failures.setdefault(task_run, time.monotonic())
    return first + patience - time.monotonic()


def retry_when_transient(task: Any, run: Any, state: State[Any]) -> bool:
    """Prefect's `retry_condition_fn`: the state of a failed attempt holds its exception. False once patience has ended."""
    if not isinstance(state.data, BaseException) or not is_transient(state.data):
        return False
    return patience_left(getattr(run, "id", None), getattr(getattr(task, "fn", None), "patience", None)) > 0


def delays() -> list[float]:
    """Seconds before each retry: doubled up to the longest, as many as patience lasts for without jitter."""
    found, total = [FIRST_DELAY], FIRST_DELAY
    while total < PATIENCE_SECONDS:
        found.append(min(2 * found[-1], LONGEST_DELAY))
        total += found[-1]
    return found


def stage_task(stage: Callable[P, T], patience: float | None = None) -> Callable[P, T]:
    """A Prefect task around a stage; calling it returns the stage's value, whatever its state is named.

    `patience`: seconds that it is tried again for; by default as long as a store needs to come back.
    """
    name = stage.__name__.replace("_", "-")

    @wraps(stage)
    def body(*args: P.args, **kwargs: P.kwargs) -> Any:
        stopping.rest(False)
        try:
            value = stage(*args, **kwargs)
        except Exception as error:
            if is_transient(error):
                _tell_of_retry(name, error, PATIENCE_SECONDS if patience is None else patience)
            raise
        cached = isinstance(value, Staged) and value.cached
        return Completed(name="Cached", message="found in the workspace", data=value) if cached else value

    body.patience = patience  # type: ignore[attr-defined]  # where the retry's condition finds it
    prefect_task = task(
        name=name,
        retries=2 * len(delays()),  # patience ends first, also where each wait was a short one
        retry_delay_seconds=delays(),
        retry_jitter_factor=JITTER,
        retry_condition_fn=retry_when_transient,
        persist_result=False,
        cache_policy=NO_CACHE,
    )(body)

    @wraps(stage)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            value: Any = prefect_task(*args, **kwargs)
        finally:
            stopping.rest(False)
        result: T = value.result() if isinstance(value, State) else value
        return result

    call.task = prefect_task  # type: ignore[attr-defined]  # tests look at the policy
    return call


def _tell_of_retry(name: str, error: Exception, patience: float) -> None:
    """Says why nothing moves, and for how long; from here on Prefect sleeps, and whoever wants this run to stop need not wait for it."""
    context = TaskRunContext.get()
    run = context.task_run if context else None
    left = patience_left(run.id if run else None, patience)
    what = error.what if isinstance(error, ContenderError) else str(error)
    if left <= 0:
        tell(Note(name, "warned", f"{what}; given up after {patience / 60:g} minutes"))
        return
    waits = delays()
    wait = waits[min(run.run_count if run else 1, len(waits)) - 1]
    until = datetime.now() + timedelta(seconds=left)
    tell(Note(name, "warned", f"{what}; trying again in about {wait:.0f} s, until {until:%H:%M:%S}"))
    stopping.rest(True)
