"""Policy of a look for new data: little patience, since the next look comes anyway; and a run is started once, whoever else looks.

Two workers may look at the same moment. Both then ask for the run of the same idempotency key, and the server makes one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from contender.errors import Transient, UsageError
from contender.monitoring import Monitored
from contender.newdata import Around, Begun, Change, Look, Seen, run_key
from contender.run import Run
from contender.showing.data import changes_page
from contender.stages import newdata as stages
from contender.turn import look_lock
from tasks.artifacts import leave
from tasks.naming import name_after
from tasks.policy import stage_task
from tasks.turn import is_taken
from tasks.waiting import not_begun, under_way

PATIENCE_SECONDS = 30.0
KEYS_AT_ONCE = 50  # numbers of a key that are asked for in one question
ALIVE_SECONDS = 900.0  # that a run may take to begin, or to end, without its turn; then it has died


def now() -> float:
    """Seconds since 1970."""
    return time.time()


@partial(stage_task, patience=PATIENCE_SECONDS)
def see(run: Run) -> Seen:
    seen = stages.see(run)
    name_after(run, seen.snapshot)
    return seen


@partial(stage_task, patience=PATIENCE_SECONDS)
def find_runs(run: Run, seen: Seen) -> Around:
    """The runs that matter to a look. Asked for before decisions are: a run that has ended by then left its own."""
    with _asking() as client:
        deployment = _deployment(client, run)
        taken = is_taken(client, run.pipeline.spec.name)
        begun = tuple(_begun(n, found, taken) for n, found in _started_before(client, run, seen))
        waiting = client.read_flow_runs(flow_run_filter=not_begun([deployment]))
        if not taken:  # between a run's first moment and its turn lie seconds on a busy machine
            waiting += client.read_flow_runs(flow_run_filter=under_way([deployment]))
    alive = [str(found.id) for found in waiting if _lives(found, taken)]
    return Around(begun, not_begun=alive[0] if alive else None, busy=bool(taken))


@partial(stage_task, patience=PATIENCE_SECONDS)
def weigh(run: Run, seen: Seen, around: Around, scored: Monitored | None = None) -> tuple[Look, tuple[Change, ...]]:
    return stages.weigh(run, seen, around, now(), scored)


@partial(stage_task, patience=PATIENCE_SECONDS)
def start(run: Run, look: Look, found: Sequence[Change], around: Around) -> Look:
    """Starts the run, or finds the one that another look has just started."""
    parameters = {
        "spec": run.pipeline.model_dump(mode="json"),
        "trigger": look.trigger,
        "settle": stages.wanted_by(run).settle,
    }
    with _asking() as client:
        started = client.create_flow_run_from_deployment(
            _deployment(client, run),
            parameters=parameters,
            idempotency_key=run_key(run.pipeline, str(look.snapshot), around.next_n),
        )
    if started.state is not None and started.state.is_final():
        message = (
            "Another look started a run for what is new, which has ended meanwhile; the next look sees what came of it."
        )
        return look.model_copy(update={"outcome": "joined", "message": message, "flow_run_id": str(started.id)})
    leave(run, "new-data", lambda: changes_page(found, look.message), look.message)
    return look.model_copy(update={"flow_run_id": str(started.id)})


@contextmanager
def only_look(run: Run) -> Iterator[Look | None]:
    """Inside, this is the only look at the pipeline's data on this machine; or gives what it comes to where it is not.

    A large file that was just dropped may take longer to hash than it is from one look to the next.
    """
    lock = look_lock(run)
    name = run.pipeline.spec.name
    try:
        busy = not lock.take()
        yield Look(pipeline=name, outcome="busy", message="An earlier look goes on.") if busy else None
    finally:
        lock.release()


@contextmanager
def _asking() -> Iterator[SyncPrefectClient]:
    """A client; Transient where the server does not answer."""
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError) and not error.response.is_server_error:
            raise
        raise Transient(
            "the Prefect server does not answer", "The next look asks again; nothing is lost meanwhile."
        ) from error


def _deployment(client: SyncPrefectClient, run: Run) -> UUID:
    name = f"retrain/{run.pipeline.spec.name}"
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        raise UsageError(
            f"the Prefect server has no deployment {name}", "Deploy the pipeline: contender deploy PIPELINE.yaml"
        ) from None


def _started_before(client: SyncPrefectClient, run: Run, seen: Seen) -> Iterator[tuple[int, FlowRun]]:
    """The runs that looks at this very content started, by their numbers."""
    for first in count(0, KEYS_AT_ONCE):
        keys = {run_key(run.pipeline, seen.snapshot.digest, n): n for n in range(first, first + KEYS_AT_ONCE)}
        asked = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=list(keys)))
        found = client.read_flow_runs(flow_run_filter=asked)
        yield from sorted((keys[str(one.idempotency_key)], one) for one in found)
        if len(found) < KEYS_AT_ONCE:
            return


def _begun(n: int, found: FlowRun, taken: bool | None) -> Begun:
    ended = None if _lives(found, taken) else _since(found)
    return Begun(n, str(found.id), ended, skipped=found.state_name == "Skipped")


def _lives(found: FlowRun, taken: bool | None) -> bool:
    """Whether the run goes on, or will. What waits for a worker does, however long, and what a person paused.

    Where nobody notices that a machine is gone, a run stays Pending or Running for ever: it is taken for dead once it had all the
    time to begin and nobody has the pipeline's turn.
    """
    if found.state is None or found.state.is_final():
        return found.state is None
    may_be_dead = found.state.type in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
    return not (may_be_dead and taken is False and now() - _since(found) > ALIVE_SECONDS)


def _since(found: FlowRun) -> float:
    moment = found.state.timestamp if found.state else datetime.now(UTC)
    return moment.timestamp()
