"""Deliveries become flow runs. A run that has not begun is joined; where none waits, one is created: at most one waits at any time.

All deliveries that wait are looked at together: one question to Prefect for all their pipelines. A delivery joins only a run that
Prefect, asked after the delivery had come, says has not begun, so that no run is joined which has looked at its data already.

Creation carries the first delivery's idempotency key. Where its answer is lost, the pipeline's next creation carries the same key, and
so finds the run if it is there.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from contender.errors import Terminal
from deployments.gateway.mapping import TAG
from deployments.gateway.watching import tell_operator
from tasks.waiting import NOT_BEGUN, not_begun

TRIGGER = "webhook"
PATIENCE = 8.0  # seconds that a delivery waits for Prefect; GitHub gives up after 10
GATHER_SECONDS = 0.05  # deliveries that come within it are asked about together
RETRY_SECONDS = 0.3
CREATED_AT_ONCE = 2  # a Prefect server on SQLite creates about 20 runs a second, and answers more clients with 503
PAGE = 200
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class PrefectAway(Terminal):
    """Prefect did not answer in time, or not as it should."""


class OtherParameters(Terminal):
    """A run with other parameters waits."""


class NothingWaits(Terminal):
    """No run waits that could be joined, and this delivery may not start one."""


@dataclass(frozen=True)
class Joined:
    """What a delivery came to."""

    run_id: UUID
    joined: bool


@dataclass(eq=False)
class Look:
    """A delivery that waits for its run. One that may have been tried before is not `fresh`; a replay does not `start` a run."""

    pipeline: str
    deployment_id: UUID
    key: str
    parameters: dict[str, Any]
    tag: str = ""
    start: bool = True
    fresh: bool = True
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE)
    future: asyncio.Future[Joined] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def came_to(self, result: Joined | Terminal) -> None:
        if self.future.done():
            return
        if isinstance(result, Joined):
            self.future.set_result(result)
        else:
            self.future.set_exception(result)


class Runs:
    """The loop that turns looks into runs."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._queue: dict[str, list[Look]] = defaultdict(list)
        self._creating: dict[str, asyncio.Task[None]] = {}
        self._unsettled: dict[str, str] = {}  # pipeline → the key of a creation whose answer was lost
        self._something = asyncio.Event()
        self._turns = asyncio.Semaphore(CREATED_AT_ONCE)

    async def look(self, look: Look) -> Joined:
        """The run for a delivery; raises PrefectAway, OtherParameters or NothingWaits."""
        self._add([look])
        return await look.future

    def stop(self) -> None:
        for task in self._creating.values():
            task.cancel()

    def _add(self, looks: Iterable[Look]) -> None:
        for look in looks:
            self._queue[look.pipeline].append(look)
        self._something.set()

    async def keep_going(self) -> None:
        """For ever: asks about all that wait, while runs of other pipelines are being created."""
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._something.clear()
            ready = {
                pipeline: self._queue.pop(pipeline) for pipeline in [*self._queue] if pipeline not in self._creating
            }
            if ready:
                await self._answer(ready)

    async def _answer(self, ready: dict[str, list[Look]]) -> None:
        ready = {pipeline: kept for pipeline, looks in ready.items() if (kept := _in_time(looks))}
        if not ready:
            return
        try:
            waiting = await self._waiting({looks[-1].deployment_id for looks in ready.values()})
        except Exception as error:  # noqa: BLE001 - this loop must go on, whatever the client raises
            if not isinstance(error, httpx.HTTPError):
                tell_operator("the question for runs failed", why=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            self._add(look for looks in ready.values() for look in looks)
            return
        for pipeline, looks in ready.items():
            if found := waiting.get(looks[-1].deployment_id):
                _join(looks, found)
            else:
                self._begin(pipeline, looks)

    async def _waiting(self, deployments: set[UUID]) -> dict[UUID, list[FlowRun]]:
        """Deployment → its runs that have not begun, soonest first."""
        found: dict[UUID, list[FlowRun]] = defaultdict(list)
        wanted, offset = not_begun(deployments), 0
        while True:
            page = await self._client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=PAGE, offset=offset
            )
            for run in page:
                if run.deployment_id is not None:
                    found[run.deployment_id].append(run)
            offset += PAGE
            if len(page) < PAGE:
                return found

    def _begin(self, pipeline: str, looks: list[Look]) -> None:
        """Creates the run of the first look that may start one; others with the same parameters share it."""
        first = next((look for look in looks if look.start), None)
        fitting = [look for look in looks if first is not None and look.tag == first.tag]
        for look in looks:
            if look not in fitting:
                look.came_to(NothingWaits("no run waits") if first is None else OtherParameters("another run waits"))
        if first is not None:
            fitting.remove(first)
            task = asyncio.create_task(self._create(first, fitting))
            self._creating[pipeline] = task
            task.add_done_callback(lambda _: self._created(pipeline))

    def _created(self, pipeline: str) -> None:
        self._creating.pop(pipeline, None)
        self._something.set()

    async def _create(self, first: Look, others: list[Look]) -> None:
        lost = self._unsettled.get(first.pipeline)
        key = lost or first.key
        try:
            async with self._turns:
                run = await self._created_run(first, key)
        except Terminal as error:
            first.came_to(error)
            if first.until - time.monotonic() <= RETRY_SECONDS:
                self._add(others)  # its time was up, and theirs may not be
            else:
                for look in others:
                    look.came_to(error)
            return
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            tell_operator("the creation of a run failed", pipeline=first.pipeline, why=type(error).__name__)
            for look in [first, *others]:
                look.came_to(PrefectAway("the creation of a run failed"))
            return
        self._unsettled.pop(first.pipeline, None)
        own = key == first.key
        if (own and first.fresh) or run.state_name in NOT_BEGUN:
            _join([first, *others], [run], new=first if own else None)
            return
        # The run is older than these deliveries, and may have looked at its data before they came.
        if own:
            first.came_to(Joined(run.id, joined=False))
        self._add(others if own else [first, *others])

    async def _created_run(self, look: Look, key: str) -> FlowRun:
        """The run by that key, tried again until the delivery's time is up."""
        while (left := look.until - time.monotonic()) > RETRY_SECONDS:
            try:
                async with asyncio.timeout(left):
                    return await self._client.create_flow_run_from_deployment(
                        look.deployment_id,
                        parameters=look.parameters,
                        tags=[look.tag] if look.tag else [],
                        idempotency_key=key,
                    )
            except ObjectNotFound:
                raise PrefectAway("the deployment is gone") from None
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in TRY_AGAIN:
                    tell_operator("Prefect refuses a run", pipeline=look.pipeline, status=error.response.status_code)
                    raise PrefectAway("Prefect refuses the run") from None
                self._unsettled[look.pipeline] = key
            except (httpx.HTTPError, TimeoutError, ValueError):
                self._unsettled[look.pipeline] = key
            await asyncio.sleep(RETRY_SECONDS)
        raise PrefectAway("Prefect does not answer")


def _in_time(looks: list[Look]) -> list[Look]:
    """Those that may wait longer; the others are told."""
    kept = []
    for look in looks:
        if look.until > time.monotonic():
            kept.append(look)
        else:
            look.came_to(PrefectAway("Prefect does not answer"))
    return kept


def _join(looks: list[Look], runs: list[FlowRun], new: Look | None = None) -> None:
    """Gives each look the first of these runs with its parameters."""
    by_tag: dict[str, FlowRun] = {}
    for run in runs:
        by_tag.setdefault(next((tag for tag in run.tags if tag.startswith(TAG)), ""), run)
    for look in looks:
        run_ = by_tag.get(look.tag)
        if run_ is None:
            look.came_to(OtherParameters("a run with other parameters waits"))
        else:
            look.came_to(Joined(run_.id, joined=look is not new))
