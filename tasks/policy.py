"""What every stage's task has in common: which errors are tried again, and how a found output is named.

Results are never persisted by Prefect: a hit there would return before our code can see that files are gone. The workspace is
the only cache, and a task that found its output there ends in a Completed state named Cached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contender.errors import Transient
from contender.workspace import Staged

P = ParamSpec("P")
T = TypeVar("T")

RETRIES = 4
FIRST_DELAY = (
    2  # seconds; doubled at each attempt, and up to half of it added at random, so that runs do not return in step
)


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
    """Prefect's `retry_condition_fn`: the state of a failed attempt holds its exception."""
    return isinstance(state.data, BaseException) and is_transient(state.data)


def delays() -> list[float]:
    """Seconds before each retry."""
    return [float(FIRST_DELAY * 2**attempt) for attempt in range(RETRIES)]


def stage_task(stage: Callable[P, T]) -> Callable[P, T]:
    """A Prefect task around a stage; calling it returns the stage's value, whatever its state is named."""

    @wraps(stage)
    def body(*args: P.args, **kwargs: P.kwargs) -> Any:
        value = stage(*args, **kwargs)
        cached = isinstance(value, Staged) and value.cached
        return Completed(name="Cached", message="found in the workspace", data=value) if cached else value

    prefect_task = task(
        name=stage.__name__.replace("_", "-"),
        retries=RETRIES,
        retry_delay_seconds=delays(),
        retry_jitter_factor=0.5,
        retry_condition_fn=retry_when_transient,
        persist_result=False,
        cache_policy=NO_CACHE,
    )(body)

    @wraps(stage)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        value: Any = prefect_task(*args, **kwargs)
        result: T = value.result() if isinstance(value, State) else value
        return result

    call.task = prefect_task  # type: ignore[attr-defined]  # tests look at the policy
    return call
