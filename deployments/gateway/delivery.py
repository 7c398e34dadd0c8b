"""What happens to one delivery: is the pipeline known, the sender too, the body fit; then the journal, then the run."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect.utilities.urls import url_for
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from contender.spec import Pipeline
from deployments.gateway import answers, mapping, schemes
from deployments.gateway.directory import Directory, Hook
from deployments.gateway.journal import ACCEPTED, IGNORED, RECEIVED, Entry, Journal, JournalFailed
from deployments.gateway.keyring import Keyring
from deployments.gateway.limits import Bodies
from deployments.gateway.runs import TRIGGER, Joined, Look, NothingWaits, OtherParameters, PrefectAway, Runs
from deployments.gateway.sns import Subscriptions
from deployments.gateway.watching import NOBODY, Metrics, tell_operator

MOST_AT_ONCE = 500  # deliveries; above it senders are asked to come back
MOST_REPEATED = (
    10_000  # deliveries that are known to have been taken, so that their replays are charged to the bad bucket
)
SETTLE_SECONDS = 5.0  # between attempts at what an earlier process left
CONFLICT, FAILED, DROPPED = "conflict", "failed", "dropped"


class Gate:
    """Takes deliveries."""

    def __init__(self, directory: Directory, journal: Journal, runs: Runs, metrics: Metrics) -> None:
        self.directory = directory
        self.journal = journal
        self._runs = runs
        self._metrics = metrics
        self._keyring = Keyring()
        self._bodies = Bodies()
        self._subscriptions = Subscriptions()
        self._at_once = 0
        self._under_way: set[str] = set()  # ids of deliveries that this process is at
        self._repeated: OrderedDict[bytes, None] = OrderedDict()

    async def deliver(self, request: Request, name: str, token: str | None) -> Response:
        """The answer to a delivery; whatever happens, there is one, and it is counted."""
        began = time.monotonic()
        hook = self.directory.hooks.get(name)
        response: Response
        try:
            self._at_once += 1
            response, result = await self._answer(hook, request, token)
        except answers.Refused as refused:
            response, result = refused.response(), refused.result
        except Exception as error:  # noqa: BLE001 - a sender gets an answer, an operator the place
            tell_operator("a delivery failed", why=_place(error))
            response, result = answers.internal().response(), answers.internal().result
        finally:
            self._at_once -= 1
        known = (hook.name, hook.webhook.scheme) if hook else (NOBODY, NOBODY)
        self._metrics.answered(*known, result, response.status_code, time.monotonic() - began)
        return response

    async def _answer(self, hook: Hook | None, request: Request, token: str | None) -> tuple[Response, str]:
        if not self.directory.known.is_set():
            raise answers.unavailable("the gateway has just started, and Prefect has not answered yet")
        if hook is None:
            raise answers.unknown()
        if self._at_once > MOST_AT_ONCE:
            raise answers.busy()
        shown = schemes.Shown(request.headers, token)
        body = await self._believed(hook, request, shown)
        entry = _entry(hook, shown, body)
        self._charge(hook, entry.same)
        try:
            if done := await self._needs_no_run(hook, shown, body, entry):
                return JSONResponse(answers.Done(outcome=done, pipeline=hook.name).model_dump()), done
            return await self._take(hook, entry, *await self._mapped(hook, body))
        except JournalFailed as error:
            tell_operator("the journal cannot be written", why=error.what)
            raise answers.unavailable("the gateway cannot write its journal") from None

    async def _believed(self, hook: Hook, request: Request, shown: schemes.Shown) -> bytes:
        """The body of a sender that knows a secret."""
        secrets = await self._keyring.of(hook)
        if schemes.before_body(hook.webhook, secrets.values, shown):
            body = await self._bodies.read(request, hook.webhook.max_bytes)
            if schemes.signed(hook.webhook, secrets.values, shown, body):
                return body
        if secrets.incomplete:
            raise answers.unresolved()
        if wait := hook.rates.bad.take():
            raise answers.too_many(wait)
        raise answers.unauthenticated(schemes.challenge(hook.webhook))

    def _charge(self, hook: Hook, same: bytes) -> None:
        bucket = hook.rates.bad if same in self._repeated else hook.rates.good
        if wait := bucket.take():
            raise answers.too_many(wait)

    async def _needs_no_run(self, hook: Hook, shown: schemes.Shown, body: bytes, entry: Entry) -> Any:
        if hook.webhook.scheme == "github" and shown.one("x-github-event") == "ping":
            # Its event is not signed: the same body must not come back as another one.
            await self.journal.add(replace(entry, result=IGNORED))
            return IGNORED
        if hook.webhook.scheme in ("basic", "token"):
            return await self._subscriptions.handled(hook, body)
        return None

    async def _mapped(self, hook: Hook, body: bytes) -> tuple[dict[str, Any], Pipeline | None]:
        if not hook.webhook.map:
            return {}, None

        def work() -> tuple[dict[str, Any], Pipeline | None]:
            values = mapping.overrides(hook.webhook, body)
            return values, mapping.with_overrides(hook.pipeline, values) if values else None

        return await asyncio.to_thread(work)

    async def _take(
        self, hook: Hook, entry: Entry, values: dict[str, Any], changed: Pipeline | None
    ) -> tuple[Response, str]:
        entry = replace(entry, parameters=values)
        with self._at(entry):
            earlier = await self.journal.receive(entry)
            if earlier is not None and earlier.result == RECEIVED and earlier.id not in self._under_way:
                # Its sender had no answer, and nobody is at it: this delivery takes its place.
                with self._at(earlier):
                    return await self._taken(hook, earlier, _look(hook, earlier, changed, fresh=False, start=True))
            look = _look(hook, entry, changed, fresh=True, start=earlier is None)
            if earlier is not None:
                self._remember(entry.same)
                return await self._taken_before(hook, entry, earlier, look, changed)
            return await self._taken(hook, entry, look)

    @contextmanager
    def _at(self, entry: Entry) -> Iterator[None]:
        """Inside, this process is at that delivery."""
        self._under_way.add(entry.id)
        try:
            yield
        finally:
            self._under_way.discard(entry.id)

    async def _taken(self, hook: Hook, entry: Entry, look: Look) -> tuple[Response, str]:
        try:
            found = await self._runs.look(look)
        except OtherParameters:
            await self.journal.settle(entry.id, CONFLICT)
            raise answers.other_parameters() from None
        except PrefectAway:
            await self.journal.settle(entry.id, FAILED)
            raise answers.unavailable() from None
        await self.journal.settle(entry.id, ACCEPTED, str(found.run_id))
        self._remember(entry.same)
        return _accepted(hook, entry, found, replay=False)

    async def _taken_before(
        self, hook: Hook, entry: Entry, earlier: Entry, look: Look, changed: Pipeline | None
    ) -> tuple[Response, str]:
        """A replay joins a run that waits, and starts none."""
        try:
            found = await self._runs.look(look)
        except (NothingWaits, OtherParameters):
            if earlier.result == RECEIVED:  # it was under way; where it came to nothing, this is no replay
                return await self._take(hook, entry, entry.parameters, changed)
            raise answers.replayed(_run_of(earlier.flow_run_id)) from None
        except PrefectAway:
            raise answers.unavailable() from None
        done = replace(entry, result=ACCEPTED, replay=True, flow_run_id=str(found.run_id))
        await self.journal.add(done)
        return _accepted(hook, done, found, replay=True)

    def _remember(self, same: bytes) -> None:
        self._repeated[same] = None
        self._repeated.move_to_end(same)
        if len(self._repeated) > MOST_REPEATED:
            self._repeated.popitem(last=False)

    async def settle_what_was_left(self) -> None:
        """Takes up the deliveries that an earlier process had journalled and not answered, until each has its run."""
        await self.directory.known.wait()
        left = [entry for entry in await self.journal.unsettled() if entry.id not in self._under_way]
        self._under_way.update(entry.id for entry in left)
        while left:
            left = [entry for entry, done in zip(left, await self._settled(left), strict=True) if not done]
            if left:
                await asyncio.sleep(SETTLE_SECONDS)

    async def _settled(self, left: list[Entry]) -> list[bool]:
        return list(await asyncio.gather(*(self._settle(entry) for entry in left)))

    async def _settle(self, entry: Entry) -> bool:
        """Whether it needs no other attempt."""
        hook = self.directory.hooks.get(entry.pipeline)
        run_id, result = None, DROPPED
        try:
            if hook is not None:
                changed = mapping.with_overrides(hook.pipeline, entry.parameters) if entry.parameters else None
                run_id = str((await self._runs.look(_look(hook, entry, changed, fresh=False, start=True))).run_id)
                result = ACCEPTED
            await self.journal.settle(entry.id, result, run_id)
        except answers.Refused:  # the spec no longer allows its parameters
            await self.journal.settle(entry.id, DROPPED)
        except (OtherParameters, PrefectAway, JournalFailed):
            return False
        tell_operator("a delivery of an earlier process is settled", delivery=entry.id, result=result)
        self._under_way.discard(entry.id)
        return True


def _entry(hook: Hook, shown: schemes.Shown, body: bytes) -> Entry:
    """What the journal keeps of a delivery. Two are the same by the signed id of the message, else by the body."""
    message = schemes.message_id(hook.webhook, shown)
    digest = hashlib.sha256(body).digest()
    same = hashlib.sha256(b"id:" + message.encode()).digest() if message else digest
    return Entry(hook.name, hook.webhook.scheme, digest, same)


def _look(hook: Hook, entry: Entry, changed: Pipeline | None, *, fresh: bool, start: bool) -> Look:
    parameters: dict[str, Any] = {"trigger": TRIGGER}
    if changed is not None:
        parameters["spec"] = changed.model_dump(mode="json")
    key = f"{hook.name}:hook:{entry.id}"
    tag = mapping.tag_of(entry.parameters)
    return Look(hook.name, hook.deployment_id, key, parameters, tag, start=start, fresh=fresh)


def _accepted(hook: Hook, entry: Entry, found: Joined, *, replay: bool) -> tuple[Response, str]:
    run = _run_of(str(found.run_id))
    answer = answers.Accepted(pipeline=hook.name, delivery=entry.id, joined=found.joined, replay=replay, **run)
    return JSONResponse(answer.model_dump(), 202, {"cache-control": "no-store"}), "joined" if found.joined else ACCEPTED


def _run_of(run_id: str | None) -> dict[str, str]:
    if run_id is None:
        return {}
    return {"flow_run_id": run_id, "flow_run_url": url_for("flow-run", obj_id=UUID(run_id)) or ""}


def _place(error: Exception) -> str:
    """Where it was raised, and its type; its text could quote what a sender sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"
