"""Policy of concurrent runs: one run of a pipeline at a time, on this machine and across workers; others queue or are skipped.

On this machine a kernel lock decides. Across workers it is a slot of a Prefect concurrency limit, leased for a minute and renewed:
a holder that was killed loses it by itself, also while the server restarts. A server that has no such limits is done without.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Running

from contender import stopping
from contender.errors import Transient
from contender.gpus import Place, hold_gpu
from contender.progress import Note, tell
from contender.records import digest
from contender.run import Run
from contender.turn import Lock, pipeline_lock
from tasks.waiting import WAITING

LEASE_SECONDS = 60  # the least that Prefect takes; with the server's own round a dead holder's slot is free within 80 s
RENEW_SECONDS = 15
LOOK_SECONDS = 0.2  # between looks at a lock, and at whether somebody wants this run to stop
ELSEWHERE = "on another machine or with another cache; one that was killed gives its turn back within 80 s"
ASK_SECONDS = 2.0  # between questions to the server
LOCKED = 423

log = logging.getLogger(__name__)


@contextmanager
def turn(run: Run) -> Iterator[str | None]:
    """Inside, this run is the only one of its pipeline; or gives why it is skipped, for `concurrency: skip`."""
    lock, slot = pipeline_lock(run), Slot(slot_of(run.pipeline.spec.name), run.flow_run_id)
    busy = None
    try:
        if not _taken(run, lock.take, lambda: _who(lock)):
            busy = _who(lock)
        else:
            slot.free(lock.before.lease if lock.before else None)
            if not _taken(run, slot.take, lambda: ELSEWHERE, every=ASK_SECONDS):
                busy = ELSEWHERE
            else:
                lock.sign(run.flow_run_id, slot.lease)
        yield f"another run of {run.pipeline.spec.name} is at work: {busy}" if busy else None
    finally:
        slot.release()
        lock.release()


def is_taken(client: SyncPrefectClient, pipeline: str) -> bool | None:
    """Whether a run of the pipeline has its turn, by the leases on the server; None where it keeps no such limits."""
    try:
        return client.read_global_concurrency_limit_by_name(slot_of(pipeline)).active_slots > 0
    except ObjectNotFound:
        return False  # no run ever had it
    except httpx.HTTPStatusError as error:
        if error.response.is_server_error:
            raise
        return None


def slot_of(pipeline: str) -> str:
    """The name of the limit whose one slot is the pipeline's turn."""
    return f"pipeline:{pipeline}"


@contextmanager
def only_writer(run: Run) -> Iterator[None]:
    """Inside, no other run of this Prefect server writes to this pipeline's part of the registry.

    Raises Transient where the server does not answer: without its lease nobody is kept out.
    """
    slot = Slot(f"registry:{digest(run.registry.url)[:32]}", run.flow_run_id)
    try:
        try:
            _taken(run, slot.take, lambda: ELSEWHERE, every=ASK_SECONDS, queue=True)
        except httpx.TransportError as error:
            raise Transient(
                f"the Prefect server does not answer, and its lease keeps other writers out of {run.registry.url}",
                "promote.single_writer needs the server at the moment of a promotion. Run the same command once it is back.",
            ) from error
        yield
    finally:
        slot.release()


def _taken(
    run: Run, take: Callable[[], bool], who: Callable[[], str], every: float = LOOK_SECONDS, queue: bool = False
) -> bool:
    """Takes it, waiting where the pipeline queues, or `queue` says so; False where it is skipped."""
    asked = 0.0
    told = False
    while True:
        if time.monotonic() - asked >= every:
            if take():
                if told:
                    name_state("Running")
                return True
            asked = time.monotonic()
            # A run that crashed waits: its own slot, on the machine that it died on, is free in a minute.
            if not queue and run.pipeline.spec.concurrency == "skip" and (flow_run.run_count or 1) == 1:
                return False
            if not told:
                tell(Note("queue", "warned", f"waiting for another run of this pipeline: {who()}"))
                told = True
                name_state(WAITING)
        stopping.check()
        time.sleep(LOOK_SECONDS)


def name_state(name: str) -> None:
    """Names the Running state of this flow run; where the server does not answer, it keeps the name that it has.

    A process that was taken for dead wakes up here, too: a run that another one has ended meanwhile is left as it is.
    """
    if flow_run.id:
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            now = client.read_flow_run(UUID(flow_run.id)).state
            if now is not None and now.is_running():
                client.set_flow_run_state(UUID(flow_run.id), Running(name=name), force=True)


def _who(lock: Lock) -> str:
    holder = lock.holder()
    return holder.sentence if holder else "another process"


def devices_of(run: Run) -> Callable[[], AbstractContextManager[dict[str, str]]]:
    """How the stages of this run take a GPU: a lock of this machine's, and the Prefect limit `gpu:<uuid>`."""

    def place(uuid: str) -> Place:
        return Slot(f"gpu:{uuid}", run.flow_run_id)

    return lambda: hold_gpu(place, run.flow_run_id)


class Slot:
    """The one slot of a Prefect concurrency limit, made where it is missing; leased, and renewed from a thread of its own."""

    def __init__(self, name: str, flow_run_id: str | None) -> None:
        self.name = name
        self.lease: str | None = None
        self._holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(flow_run_id)) if flow_run_id else None
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def take(self) -> bool:
        """Whether it is ours now; True without a lease where the server knows no such limits."""
        if self._holder is None:
            return True
        try:
            with get_client(sync_client=True) as client:
                self.lease = self._acquired(client) or self._acquired_from_new(client)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return False
            log.warning("the Prefect server keeps no limit %s (%s)", self.name, error.response.status_code)
            return True
        if self.lease:
            self._renewing = threading.Thread(target=self._renew, name=f"renew {self.name}", daemon=True)
            self._renewing.start()
        return True

    def free(self, lease: str | None) -> None:
        """Gives back what a holder that was killed on this machine had left."""
        if lease:
            # Once: a lease that is not renewed ends within a minute, which is no longer than a server would be asked again.
            with (
                temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
                suppress(httpx.HTTPError),
                get_client(sync_client=True) as client,
            ):
                client.release_concurrency_slots_with_lease(UUID(lease))

    def release(self) -> None:
        self._ended.set()
        if self.lease:
            self.free(self.lease)
            self.lease = None

    def _acquired(self, client: SyncPrefectClient) -> str | None:
        """The lease; None where the limit does not exist."""
        answer = client.increment_concurrency_slots_with_lease(
            [self.name], 1, mode="concurrency", lease_duration=LEASE_SECONDS, holder=self._holder
        ).json()
        return str(answer["lease_id"]) if answer["limits"] else None

    def _acquired_from_new(self, client: SyncPrefectClient) -> str | None:
        try:
            client.upsert_global_concurrency_limit_by_name(self.name, 1)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:  # another run made it meanwhile
                raise
        return self._acquired(client)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with (
                suppress(httpx.HTTPError),
                get_client(sync_client=True) as client,
            ):  # a server that restarts is asked again
                client.renew_concurrency_lease(UUID(self.lease), lease_duration=LEASE_SECONDS)
