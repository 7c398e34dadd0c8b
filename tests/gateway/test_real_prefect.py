"""Against a real Prefect server: runs that a worker would take, and what is left by a gateway that is killed."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import httpx
import pytest
from gateways import SECRETS, a_pipeline, basic, deploy_hook, gateway_process
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Running
from starlette.testclient import TestClient

from contender.spec import Pipeline
from deployments.gateway.app import Settings, create_app
from deployments.server import ServerInfo


@pytest.fixture
def client(prefect_server: ServerInfo) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    return f"desk-{secrets.token_hex(4)}"


@pytest.fixture
def deployment(client: SyncPrefectClient, tmp_path: Path, name: str) -> UUID:
    return deploy_hook(client, a_pipeline(tmp_path, name, map={"train.epochs": "epochs"}))


def runs(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return client.read_flow_runs(flow_run_filter=wanted)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_delivery_becomes_a_flow_run_that_later_ones_join_until_it_begins(
    client: SyncPrefectClient, deployment: UUID, name: str, tmp_path: Path, prefect_server: ServerInfo
) -> None:
    with TestClient(create_app(Settings(tmp_path / "journal.db")), base_url="http://127.0.0.1") as gateway:
        until(lambda: gateway.get("/readyz").status_code == 200)
        said = [gateway.post(f"/hooks/{name}", content=body, headers=basic()).json() for body in (b"{}", b"[]")]
        (run,) = runs(client, deployment)
        assert {one["flow_run_id"] for one in said} == {str(run.id)} and [one["joined"] for one in said] == [
            False,
            True,
        ]
        assert said[0]["flow_run_url"] == f"{prefect_server.ui_url}/runs/flow-run/{run.id}"
        assert run.parameters["trigger"] == "webhook" and run.state_name == "Scheduled"
        assert Pipeline.model_validate(run.parameters["spec"]).spec.name == name
        client.set_flow_run_state(run.id, Running(), force=True)
        mapped = gateway.post(f"/hooks/{name}", content=b'{"epochs": 3}', headers=basic()).json()
        (new,) = [one for one in runs(client, deployment) if one.id != run.id]
        assert mapped["flow_run_id"] == str(new.id) and new.parameters["spec"]["spec"]["train"]["epochs"] == 3
        client.set_flow_run_state(new.id, Running(name="Waiting"), force=True)
        assert gateway.post(f"/hooks/{name}", content=b'{"epochs": 3, "n": 1}', headers=basic()).json()["joined"]
        assert gateway.post(f"/hooks/{name}", content=b"{}", headers=basic()).status_code == 409
        text = gateway.get("/metrics").text
        assert f'contender_gateway_deliveries_total{{pipeline="{name}",result="joined"}} 2.0' in text


def test_many_deliveries_at_once_leave_one_run_that_waits(
    client: SyncPrefectClient, deployment: UUID, name: str, tmp_path: Path
) -> None:
    with TestClient(create_app(Settings(tmp_path / "journal.db")), base_url="http://127.0.0.1") as gateway:
        until(lambda: gateway.get("/readyz").status_code == 200)

        def post(number: int) -> httpx.Response:
            return gateway.post(f"/hooks/{name}", content=b'{"n": %d}' % number, headers=basic())

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(post, range(50)))
    assert {one.status_code for one in answers} == {202} and len(runs(client, deployment)) == 1


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def results(journal: Path) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(journal)) as opened:
        return opened.execute("SELECT result, flow_run_id FROM deliveries ORDER BY n").fetchall()


@pytest.mark.slow
def test_a_gateway_killed_between_the_journal_and_the_run_creates_it_when_it_is_back(
    client: SyncPrefectClient, deployment: UUID, name: str, tmp_path: Path, prefect_server: ServerInfo
) -> None:
    journal, port, log = tmp_path / "journal.db", free_port(), tmp_path / "log"
    with ThreadPoolExecutor(1) as pool:
        with gateway_process(journal, port, log) as process:
            os.kill(prefect_server.pid, signal.SIGSTOP)
            try:
                lost = pool.submit(post, port, name, b"1")
                until(lambda: results(journal) == [("received", None)])
                process.kill()
            finally:
                os.kill(prefect_server.pid, signal.SIGCONT)
        with pytest.raises(httpx.HTTPError):
            lost.result(20)
    assert not runs(client, deployment)
    with gateway_process(journal, port, log):
        until(lambda: results(journal)[0][0] == "accepted")
        (run,) = runs(client, deployment)
        assert results(journal) == [("accepted", str(run.id))]
        assert post(port, name, b"1").json()["flow_run_id"] == str(run.id), "the sender's next attempt finds it"
    assert len(runs(client, deployment)) == 1 and "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True])
def test_a_gateway_killed_between_the_run_and_the_journal_finds_the_run_again(
    client: SyncPrefectClient, deployment: UUID, name: str, tmp_path: Path, begun: bool
) -> None:
    journal, port, log = tmp_path / "journal.db", free_port(), tmp_path / "log"
    with ThreadPoolExecutor(1) as pool:
        with gateway_process(journal, port, log) as process, closing(locking(journal)) as lock:
            lost = pool.submit(post, port, name, b"1")
            until(lambda: results(journal) == [("received", None)])
            lock.execute("BEGIN IMMEDIATE")  # what became of it cannot be written
            until(lambda: runs(client, deployment))
            process.kill()
        with pytest.raises(httpx.HTTPError):
            lost.result(20)
    (run,) = runs(client, deployment)
    assert results(journal) == [("received", None)]
    if begun:
        client.set_flow_run_state(run.id, Running(), force=True)
    with gateway_process(journal, port, log):
        until(lambda: results(journal)[0][0] == "accepted")
    assert results(journal) == [("accepted", str(run.id))] and len(runs(client, deployment)) == 1


def locking(journal: Path) -> sqlite3.Connection:
    return sqlite3.connect(journal, isolation_level=None, timeout=5)


def post(port: int, name: str, body: bytes) -> httpx.Response:
    return httpx.post(f"http://127.0.0.1:{port}/hooks/{name}", content=body, headers=basic(), timeout=15)


@pytest.mark.slow
def test_the_process_ends_when_it_is_told_and_writes_no_token(
    client: SyncPrefectClient, tmp_path: Path, name: str
) -> None:
    deploy_hook(client, a_pipeline(tmp_path, name, "token"))
    log = tmp_path / "log"
    with gateway_process(tmp_path / "journal.db", port := free_port(), log) as process:
        answer = httpx.post(f"http://127.0.0.1:{port}/hooks/{name}/{SECRETS['token']}")
        assert answer.status_code == 202
        assert httpx.post(f"http://127.0.0.1:{port}/hooks/{name}/{SECRETS['token']}x").status_code == 401
        process.terminate()
        assert process.wait(20) == 0
    assert SECRETS["token"] not in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.server("ministack")
def test_a_topic_is_subscribed_and_its_notification_becomes_a_run(
    client: SyncPrefectClient, tmp_path: Path, name: str, sns_server: Any
) -> None:
    sns = boto3.Session().client("sns", region_name="us-east-1")
    topic = sns.create_topic(Name=name)["TopicArn"]
    (tmp_path / "basic.secret").write_text("sns:password")
    deployment = deploy_hook(client, a_pipeline(tmp_path, name, topic=topic))
    with gateway_process(tmp_path / "journal.db", port := free_port(), tmp_path / "log"):
        endpoint = f"http://sns:password@127.0.0.1:{port}/hooks/{name}"
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)
        (listed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]

        def pending() -> str:
            return str(
                sns.get_subscription_attributes(SubscriptionArn=listed["SubscriptionArn"])["Attributes"][
                    "PendingConfirmation"
                ]
            )

        until(lambda: pending() == "false")
        assert not runs(client, deployment)
        sns.publish(TopicArn=topic, Message='{"Records": []}')
        until(lambda: runs(client, deployment))
