"""What runs where, as the Prefect server and the registries know it: asked every few seconds, by a thread of its own.

A look is three requests, whatever the number of pipelines, and one more for each pipeline whose next start has passed; a registry is
asked where a run of its pipeline has ended. A server that hangs holds up nobody but this thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from contender.spec import Pipeline

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import FlowRun, StateType

EVERY_SECONDS = 2.0
NEXT_SECONDS = (
    30.0  # between two questions for a next start that has not come yet: somebody may pause a schedule in the UI
)
PAGE = 200
RETRAIN, WATCH = "retrain", "watch"


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    state: str
    at: datetime
    message: str


@dataclass(frozen=True)
class Underway:
    """A run that somebody works on, or is about to."""

    state: str
    since: datetime


@dataclass(frozen=True)
class Seen:
    """What is known of one pipeline."""

    champion: str | None = None  # the release, None where there is none yet or it is not known
    entry: int = 0
    next: datetime | None = None
    last: Ended | None = None
    looked: Ended | None = None  # the last look at the data
    now: tuple[Underway, ...] = ()
    fault: str = ""  # of its registry


@dataclass
class Watched:
    """A pipeline and its deployments: flow → id."""

    pipeline: Pipeline
    deployments: Mapping[str, UUID]
    seen: Seen = field(default_factory=Seen)
    asked_next: float = 0.0

    @property
    def name(self) -> str:
        return self.pipeline.spec.name


class Watch:
    """Looks again and again until it is closed; `seen` is what it knows, `fault` why it does not know more."""

    def __init__(self, watched: Sequence[Watched], told: Callable[[str], None], every: float = EVERY_SECONDS) -> None:
        self._watched = list(watched)
        self._told = told
        self._every = every
        self._ids = {id_: (one, flow) for one in watched for flow, id_ in one.deployments.items()}
        self._states: dict[UUID, tuple[str, datetime]] = {}
        self._since = datetime.now(UTC)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="stack-watch", daemon=True)
        self.fault = ""
        self.counts: dict[str, int] = {}  # ended runs of this stack, by their state's name

    @property
    def watched(self) -> list[Watched]:
        return self._watched

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _follow(self) -> None:
        from prefect.client.orchestration import get_client

        while not self._over.is_set():
            try:
                with get_client(sync_client=True) as client:
                    self.look(client, first=True)
                    while not self._over.is_set():
                        self._over.wait(self._every)
                        self.look(client)  # once more at the end: it says how the last runs ended
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
                self.fault = next(iter(str(error).splitlines()), repr(error))
                self._over.wait(self._every)

    def look(self, client: SyncPrefectClient, *, first: bool = False) -> None:
        """One look; the first one asks for the last run of each pipeline, too."""
        self._see_work(client)
        for run in self._ended(client, first=first):
            self._note_end(run)
        for one in self._watched:
            self._see_next(client, one)
            if first:
                self._see_champion(one)
        self.fault = ""

    def _see_work(self, client: SyncPrefectClient) -> None:
        runs = client.read_flow_runs(flow_run_filter=self._of(("RUNNING", "PENDING", "CANCELLING")), limit=PAGE)
        runs += client.read_flow_runs(flow_run_filter=self._again(), limit=PAGE)
        for one in self._watched:
            mine = [run for run in runs if run.deployment_id == one.deployments[RETRAIN]]
            one.seen = replace(one.seen, now=tuple(Underway(str(run.state_name), _at(run)) for run in mine))
        for run in runs:
            self._note_work(run)

    def _note_work(self, run: FlowRun) -> None:
        state = (str(run.state_name), _at(run))
        known, self._states[run.id] = self._states.get(run.id), state
        one, flow = self._whose(run)
        if flow == RETRAIN and run.state_name in ("Running", "Waiting", "AwaitingRetry") and known != state:
            words = {"Running": "runs", "Waiting": "waits for its turn", "AwaitingRetry": "is to be continued"}
            trigger = run.parameters.get("trigger")
            self._told(f"{one.name} {words[run.state_name]}{f' ({trigger})' if trigger else ''}")

    def _whose(self, run: FlowRun) -> tuple[Watched, str]:
        assert run.deployment_id  # asked for by it
        return self._ids[run.deployment_id]

    def _ended(self, client: SyncPrefectClient, *, first: bool) -> list[FlowRun]:
        """Runs that have ended since the last look, the earliest first."""
        from prefect.client.schemas.sorting import FlowRunSort

        since, self._since = self._since, datetime.now(UTC)
        runs: list[FlowRun] = []
        if first:
            for id_ in self._ids:
                wanted = self._of(FINAL, [id_])
                runs += client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=1)
            for run in runs:
                self._states[run.id] = (str(run.state_name), _at(run))  # it ended before: nothing to tell
            return runs
        wanted = self._of(FINAL, after=since - timedelta(seconds=10))
        runs = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=PAGE)
        return runs[::-1]

    def _note_end(self, run: FlowRun) -> None:
        one, flow = self._whose(run)
        state = run.state
        ended = Ended(str(run.state_name), _at(run), str(state.message or "") if state else "")
        known, self._states[run.id] = self._states.get(run.id), (ended.state, ended.at)
        if flow == WATCH:
            one.seen = replace(one.seen, looked=ended)
        else:
            one.seen = replace(one.seen, last=ended)
        if known == (ended.state, ended.at):
            return
        if flow == RETRAIN:
            self.counts[ended.state] = self.counts.get(ended.state, 0) + 1
            self._see_champion(one)
        if flow == RETRAIN or ended.state == "Failed":  # a look that was interrupted is followed by the next one
            self._told(f"{one.name}{' (new data)' if flow == WATCH else ''}: {ended.state}. {ended.message}".rstrip())

    def _see_next(self, client: SyncPrefectClient, one: Watched) -> None:
        from prefect.client.schemas.sorting import FlowRunSort

        now, known = datetime.now(UTC), one.seen.next
        if not one.pipeline.spec.schedule or (
            time.monotonic() - one.asked_next < (NEXT_SECONDS if known is None or known > now else self._every)
        ):
            return
        one.asked_next = time.monotonic()
        runs = client.read_flow_runs(
            flow_run_filter=self._of(("SCHEDULED",), [one.deployments[RETRAIN]]),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=10,
        )
        starts = [run.expected_start_time for run in runs if run.auto_scheduled and run.expected_start_time]
        one.seen = replace(one.seen, next=min((at for at in starts if at > now), default=None))

    def _see_champion(self, one: Watched) -> None:
        from contender.run import open_registry

        try:
            entry = open_registry(one.pipeline).champion(one.pipeline.spec.promote.alias)
        except Exception as error:  # noqa: BLE001 - a registry that does not answer now is shown as that
            one.seen = replace(one.seen, fault=next(iter(str(error).splitlines()), repr(error)))
        else:
            one.seen = replace(
                one.seen, champion=entry.release if entry else None, entry=entry.n if entry else 0, fault=""
            )

    def _of(
        self, types: Sequence[str], ids: Sequence[UUID] | None = None, after: datetime | None = None
    ) -> FlowRunFilter:
        from prefect.client.schemas import filters

        return filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(ids or self._ids)),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_types(types))),
            end_time=filters.FlowRunFilterEndTime(after_=after) if after else None,
        )

    def _again(self) -> FlowRunFilter:
        """Runs that died and are to be continued."""
        from prefect.client.schemas import filters

        return filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(self._ids)),
            state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=["AwaitingRetry"])),
        )


FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def _types(names: Sequence[str]) -> list[StateType]:
    from prefect.client.schemas.objects import StateType

    return [StateType(name) for name in names]


def _at(run: FlowRun) -> datetime:
    """When it came to its state."""
    return run.state.timestamp if run.state else datetime.now(UTC)
