"""The ASGI application: `create_app()` reads the environment, so that any ASGI server can run it; one process per journal.

    CONTENDER_GATEWAY_JOURNAL       the journal's file; required
    CONTENDER_GATEWAY_PUBLIC_URL    how senders reach it, where that is not loopback: its host is answered to, its path is the base path

and Prefect's own settings, which say where the deployments are. An access log of paths would hold tokens: uvicorn's is switched off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from contender.errors import UsageError
from deployments.environment import chosen_api
from deployments.gateway import answers
from deployments.gateway.journal import Journal, JournalFailed
from deployments.gateway.watching import Metrics, prepare_logs, tell_operator
from deployments.guard import LOOPBACK, App, Receive, Scope, Send, refusal

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    Connect = Callable[[], AbstractAsyncContextManager[PrefectClient]]

JOURNAL, PUBLIC_URL = "CONTENDER_GATEWAY_JOURNAL", "CONTENDER_GATEWAY_PUBLIC_URL"
PRUNE_SECONDS = 60.0
PREFECT_SECONDS = 5.0  # for one request to Prefect
INSIDE = frozenset({"/metrics", "/readyz"})  # they name pipelines and say what is broken: for this machine only
TEXT = "text/plain; version=1.0.0; charset=utf-8"


@dataclass(frozen=True)
class Settings:
    """What a gateway is told."""

    journal: Path
    public_url: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        journal = environ.get(JOURNAL)
        if not journal:
            raise UsageError(f"{JOURNAL} is not set", "Name the file that the gateway keeps its deliveries in.")
        return cls(Path(journal), environ.get(PUBLIC_URL, ""))

    def __post_init__(self) -> None:
        if not self.public_url:
            return
        try:
            parts = urlsplit(self.public_url)
            fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            fits = None
        if not fits or parts.query or parts.fragment or "@" in parts.netloc:
            raise UsageError(
                f"the public URL {self.public_url!r} is not of the form https://host/path",
                "Give the address that senders use, without a query and without a password.",
            )

    @property
    def hosts(self) -> frozenset[str]:
        name = urlsplit(self.public_url).hostname
        return LOOPBACK | {name} if name else LOOPBACK

    @property
    def base_path(self) -> str:
        return urlsplit(self.public_url).path.rstrip("/")


def prefect() -> AbstractAsyncContextManager[PrefectClient]:
    """A client of the environment's server, whose requests end in time."""
    import httpx
    from prefect.client.orchestration import get_client

    return get_client(httpx_settings={"timeout": httpx.Timeout(PREFECT_SECONDS)})


def create_app(settings: Settings | None = None, connect: Connect = prefect) -> FastAPI:
    """The gateway, which holds its journal from now on; UsageError where its settings are wrong, or another one has the journal."""
    settings = settings or Settings.of(os.environ)
    if chosen_api(os.environ) is None:
        raise UsageError(
            "no Prefect server is chosen", "Set PREFECT_API_URL to the server that holds the pipelines' deployments."
        )
    prepare_logs()
    journal = Journal(settings.journal)
    app = FastAPI(
        title="Contender webhook gateway",
        version="1",
        description="A delivery means: look now. The pipeline's data decides what comes of it. docs/webhooks.md",
        root_path=settings.base_path,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat a token
        lifespan=lambda app: _running(app, journal, connect),
    )
    app.add_middleware(Hosts, hosts=settings.hosts)
    _answer_in_one_form(app)
    _add_hooks(app)
    _add_health(app)
    return app


@asynccontextmanager
async def _running(app: FastAPI, journal: Journal, connect: Connect) -> AsyncIterator[None]:
    """The gateway's parts, and the chores that go on beside the requests."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from deployments.gateway.delivery import Gate
    from deployments.gateway.directory import Directory
    from deployments.gateway.runs import Runs

    metrics = Metrics()
    # Retries are ours: they end when a sender has to be told.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with connect() as client:
            directory, runs = Directory(metrics), Runs(client)
            gate = Gate(directory, journal, runs, metrics)
            app.state.gate, app.state.metrics = gate, metrics
            work = (directory.keep_fresh(client), runs.keep_going(), gate.settle_what_was_left(), _prune(journal))
            chores = [asyncio.create_task(one) for one in work]
            try:
                yield
            finally:
                runs.stop()
                for chore in chores:
                    chore.cancel()
                await asyncio.gather(*chores, return_exceptions=True)
                await asyncio.to_thread(journal.close)


async def _prune(journal: Journal) -> None:
    """Removes old deliveries, some at a time, so that no sender waits for it."""
    while True:
        with suppress(JournalFailed):
            while await journal.prune():
                await asyncio.sleep(0.1)
        await asyncio.sleep(PRUNE_SECONDS)


class Hosts:
    """Answers to its own names only, and to no page of another origin; a page that rebinds its name to loopback finds nothing."""

    def __init__(self, app: App, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = refusal(scope, self._hosts)
        if refused is None and refusal(scope) is not None and _path(scope) in INSIDE:
            refused = 404, "there is nothing at this path"
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            # A proxy could see one request where this server sees two: the rest of the connection is not to be trusted.
            ambiguous = answers.failure(400, "the body has two lengths", "Send one.", {"connection": "close"})
            await ambiguous(scope, receive, send)
        elif refused is None:
            await self._app(scope, receive, send)
        else:
            status, reason = refused
            await answers.failure(status, reason, "Use the gateway's own address.")(scope, receive, send)


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _answer_in_one_form(app: FastAPI) -> None:
    """Every error is the same JSON, and repeats nothing of the request."""

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            return answers.failure(405, "this path is not for this method", "Send a POST.", error.headers)
        return answers.failure(error.status_code, "there is nothing at this path", "See /openapi.json.", error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, __: RequestValidationError) -> JSONResponse:
        return answers.failure(422, "the request does not fit the OpenAPI document", "See /openapi.json.")

    @app.exception_handler(JournalFailed)
    async def unwritable(_: Request, error: JournalFailed) -> JSONResponse:
        tell_operator("the journal cannot be written", why=error.what)
        return answers.unavailable("the gateway cannot write its journal").response()


BODY = {"requestBody": {"content": {"*/*": {"schema": {}}}, "description": "Whatever the sender sends; JSON for a map"}}


def _add_hooks(app: FastAPI) -> None:
    options: dict[str, Any] = {
        "status_code": 202,
        "response_model": answers.Accepted,
        "responses": answers.documented(),
        "openapi_extra": BODY,
    }

    @app.post("/hooks/{pipeline}", summary="A delivery", **options)
    async def hook(request: Request, pipeline: str) -> Response:
        response: Response = await request.app.state.gate.deliver(request, pipeline, None)
        return response

    @app.post("/hooks/{pipeline}/{token:path}", summary="A delivery whose sender can set nothing but a URL", **options)
    async def hook_with_token(request: Request, pipeline: str, token: str) -> Response:
        response: Response = await request.app.state.gate.deliver(request, pipeline, token)
        return response


def _add_health(app: FastAPI) -> None:
    refused: dict[int | str, dict[str, Any]] = {
        403: {"model": answers.Failure, "description": "a page of another origin asked"},
        421: {"model": answers.Failure, "description": "the Host header names another server"},
    }
    inside = refused | {404: {"model": answers.Failure, "description": "asked from outside this machine"}}

    @app.get("/healthz", summary="Whether the process answers", responses=refused)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="Whether deliveries can be taken: Prefect answers, the journal can be written",
        response_model=dict[str, str],
        responses=inside | {503: {"model": answers.Failure, "description": "they cannot"}},
    )
    async def readyz(request: Request) -> Response:
        gate = request.app.state.gate
        if not gate.directory.fresh:
            return answers.unavailable("Prefect does not answer").response()
        await gate.journal.check()
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses=inside
        | {200: {"content": {TEXT: {"schema": {"type": "string"}}}, "description": "Prometheus' text"}},
    )
    async def metrics(request: Request) -> Response:
        from prometheus_client import generate_latest

        found = request.app.state.metrics
        found.journal_bytes.set(request.app.state.gate.journal.size())
        return Response(generate_latest(found.registry), media_type=TEXT)
