"""What every stage's task has in common: which errors are tried again, for how long, and how a found output is named.

Results are never persisted by Prefect: a hit there would return before our code can see that files are gone. The workspace is
the only cache, and a task that found its output there ends in a Completed state named Cached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contender import stopping
from contender.errors import ContenderError, Transient
from contender.progress import Note, tell
from contender.workspace import Staged

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = (
    300.0  # from a task's first failure on: a store that restarts is back by then, and a training waits behind it
)
FIRST_DELAY, LONGEST_DELAY = 2.0, 30.0
JITTER = 0.5  # of a delay, added at random, so that runs do not return in step

_first_failures: dict[Any, float] = {}  # by task run


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


def retry_when_transient(task: Any, run: Any, state: State[Any]) -> bool:
    """Prefect's `retry_condition_fn`: the state of a failed attempt holds its exception. False once patience has ended."""
    if not isinstance(state.data, BaseException) or not is_transient(state.data):
        return False
    first = _first_failures.setdefault(getattr(run, "id", None), time.monotonic())
    return time.monotonic() - first < PATIENCE_SECONDS


def delays() -> list[float]:
    """Seconds before each retry: doubled up to the longest, as many as patience lasts for without jitter."""
    found, total = [FIRST_DELAY], FIRST_DELAY
    while total < PATIENCE_SECONDS:
        found.append(min(2 * found[-1], LONGEST_DELAY))
        total += found[-1]
    return found


def stage_task(stage: Callable[P, T]) -> Callable[P, T]:
    """A Prefect task around a stage; calling it returns the stage's value, whatever its state is named."""
    name = stage.__name__.replace("_", "-")

    @wraps(stage)
    def body(*args: P.args, **kwargs: P.kwargs) -> Any:
        stopping.rest(False)
        try:
            value = stage(*args, **kwargs)
        except Exception as error:
            if is_transient(error):
                what = error.what if isinstance(error, ContenderError) else str(error)
                tell(Note(name, "warned", f"{what}; trying again for up to {PATIENCE_SECONDS / 60:.0f} minutes"))
                stopping.rest(True)  # Prefect sleeps now: whoever wants this run to stop need not wait for it
            raise
        cached = isinstance(value, Staged) and value.cached
        return Completed(name="Cached", message="found in the workspace", data=value) if cached else value

    prefect_task = task(
        name=name,
        retries=len(delays()),
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
