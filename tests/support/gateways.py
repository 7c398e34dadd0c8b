"""Pipelines that take webhooks, the headers that their senders send, and a Prefect server in memory that fails as it is told to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import prefect.states
import uvicorn
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from starlette.testclient import TestClient

from contender.spec import Pipeline, Spec
from deployments.gateway.app import Settings, create_app
from deployments.gateway.server import configured
from tasks.waiting import NOT_BEGUN

KEY = b"0123456789abcdef0123456789abcdef"
STANDARD_SECRET = "whsec_" + base64.b64encode(KEY).decode()
SECRETS = {
    "standard": STANDARD_SECRET,
    "github": "It's a Secret to Everybody",
    "huggingface": "hf-webhook-secret",
    "basic": "sender:pa:ss wörd",
    "token": "a-token-of-32-characters-or-so-xx",
}


def a_pipeline(folder: Path, name: str, scheme: str = "basic", **webhook: Any) -> Pipeline:
    """A small pipeline by value; its secret is read from `<folder>/<scheme>.secret`."""
    secret = folder / f"{scheme}.secret"
    if "secrets" not in webhook and not secret.exists():
        secret.write_bytes(SECRETS[scheme].encode() + b"\n")
    triggers = {"webhook": {"scheme": scheme, "secrets": [f"file:{secret.name}"], **webhook}}
    return without_hook(folder, name, triggers)


def without_hook(folder: Path, name: str, triggers: dict[str, Any] | None = None) -> Pipeline:
    given = {"name": name, "task": "text-classification", "data": {"source": "rows/"}, "model": {"base": "base"}}
    spec = Spec.model_validate({**given, "triggers": triggers or {}})
    return Pipeline(spec=spec, folder=str(folder), suite_name="none", suite={})


def standard(body: bytes, message: str | None = None, at: float | None = None, key: bytes = KEY) -> dict[str, str]:
    message = message or f"msg_{uuid4().hex}"
    at = int(time.time() if at is None else at)
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": signature}


def github(body: bytes, event: str = "push", secret: str = SECRETS["github"]) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-github-event": event, "x-github-delivery": str(uuid4()), "x-hub-signature-256": f"sha256={digest}"}


def basic(password: str = SECRETS["basic"]) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(password.encode()).decode()}"}


def request_of(scheme: str, name: str, body: bytes) -> tuple[str, dict[str, str]]:
    """Path and headers of a delivery that is believed."""
    path = f"/hooks/{name}"
    if scheme == "token":
        return f"{path}/{SECRETS['token']}", {}
    headers = {
        "standard": lambda: standard(body),
        "github": lambda: github(body),
        "huggingface": lambda: {"x-webhook-secret": SECRETS["huggingface"]},
        "basic": basic,
    }[scheme]()
    return path, headers


class MemoryPrefect:
    """As much of Prefect's client as the gateway uses, on runs in memory."""

    def __init__(self, *pipelines: Pipeline) -> None:
        self.ids: dict[str, UUID] = {}
        self.deployments: list[Any] = []
        self.runs: list[FlowRun] = []
        self.created = 0  # runs, not requests
        self.asked = 0
        self.away = False
        self.before_create: Callable[[], Any] = lambda: None
        self.after_create: Callable[[], Any] = lambda: None
        self.after_read: Callable[[], Any] = lambda: None
        for pipeline in pipelines:
            self.deploy(pipeline)

    def deploy(self, pipeline: Pipeline) -> None:
        name = pipeline.spec.name
        self.deployments = [one for one in self.deployments if one.name != name]
        found = {"name": name, "id": self.ids.setdefault(name, uuid4())}
        self.deployments.append(SimpleNamespace(**found, parameters={"spec": pipeline.model_dump(mode="json")}))

    def add_run(self, name: str, state: str = "Scheduled", **more: Any) -> FlowRun:
        kind = prefect.states.Scheduled if state in NOT_BEGUN else prefect.states.Running
        run = FlowRun(flow_id=uuid4(), deployment_id=self.ids[name], state=kind(name=state), state_name=state, **more)
        self.runs.append(run)
        return run

    def begin_all(self) -> None:
        for run in self.runs:
            run.state_name = "Running"

    def waiting(self, name: str) -> list[FlowRun]:
        return [run for run in self.runs if run.deployment_id == self.ids[name] and run.state_name in NOT_BEGUN]

    def _answer(self) -> None:
        if self.away:
            raise httpx.ConnectError("nobody listens")

    async def read_deployments(self, **_: Any) -> list[Any]:
        self._answer()
        return list(self.deployments)

    async def count_flow_runs(self, **_: Any) -> int:
        self._answer()
        return sum(run.state_name in NOT_BEGUN for run in self.runs)

    async def read_flow_runs(self, *, flow_run_filter: Any, limit: int, offset: int, **_: Any) -> list[FlowRun]:
        self._answer()
        self.asked += 1
        wanted = set(flow_run_filter.deployment_id.any_)
        found = [run.model_copy() for run in self.runs if run.deployment_id in wanted and run.state_name in NOT_BEGUN]
        self.after_read()
        return found[offset : offset + limit]

    async def create_flow_run_from_deployment(
        self, deployment_id: UUID, *, parameters: dict[str, Any], tags: list[str], idempotency_key: str
    ) -> FlowRun:
        self._answer()
        self.before_create()
        same = [run for run in self.runs if run.idempotency_key == idempotency_key]
        if not same:
            name = next(name for name, known in self.ids.items() if known == deployment_id)
            same = [self.add_run(name, parameters=parameters, tags=tags, idempotency_key=idempotency_key)]
            self.created += 1
        found = same[0].model_copy()
        self.after_create()
        return found


@asynccontextmanager
async def connected(prefect: MemoryPrefect) -> AsyncIterator[Any]:
    yield prefect


@contextmanager
def gateway(prefect: MemoryPrefect, journal: Path, public_url: str = "") -> Iterator[TestClient]:
    """A gateway in this process that knows its pipelines."""
    logging.getLogger("contender.gateway").addHandler(logging.NullHandler())  # then its lines propagate, to be captured
    logging.getLogger("contender.gateway").setLevel(logging.INFO)
    app = create_app(Settings(journal, public_url), connect=lambda: connected(prefect))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        deadline = time.monotonic() + 5
        while not prefect.away and not app.state.gate.directory.known.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield client


@contextmanager
def listening(prefect: MemoryPrefect, journal: Path) -> Iterator[int]:
    """A gateway in this process, behind uvicorn on a port of loopback."""
    app = create_app(Settings(journal), connect=lambda: connected(prefect))
    server = uvicorn.Server(configured(app, 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not (server.started and app.state.gate.directory.known.is_set()):
        assert thread.is_alive()
        time.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


@contextmanager
def gateway_process(journal: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as it is run, with this process's environment; ready for deliveries."""
    line = [sys.executable, "-P", "-m", "deployments.gateway", "--port", str(port), "--journal", str(journal)]
    with log.open("ab") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        else:
            raise AssertionError(log.read_text())
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def deploy_hook(client: SyncPrefectClient, pipeline: Pipeline) -> UUID:
    """A deployment as `contender deploy` leaves it, as far as the gateway looks."""
    parameters = {"spec": pipeline.model_dump(mode="json")}
    name = pipeline.spec.name
    return client.create_deployment(
        client.create_flow_from_name("retrain"), name, parameters=parameters, tags=["contender"]
    )
