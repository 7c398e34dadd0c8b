"""`contender up PIPELINE…` as a user has it: everything on one machine, guarded from outside, and gone with its Ctrl-C."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from desk import PIPELINE, tickets, write_tickets
from prefect.client.orchestration import SyncPrefectClient, get_client
from upped import Up
from workers import history, until

from contender.records import TrainReport
from contender.workspace import Workspace
from deployments.home import Home
from deployments.server import ServerInfo, client_environment, server_status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTED = ["Pending", "Submitting", "Running"]
ENGINE, JOB, WORKER = "prefect.engine", "contender.training.job", "deployments.worker"
STARTS = 'schedule: {cron: "0 3 * * *", timezone: Europe/Berlin}\n'
LONG = "resources: {checkpoint: {steps: 20}, max_recoveries: 3}\n"


@dataclass
class Place:
    """A pipeline on the clock, whose training takes some seconds, and the stacks of its home."""

    folder: Path
    home: Path
    speaking_to: Callable[[ServerInfo], AbstractContextManager[ServerInfo]]
    started: list[Up] = field(default_factory=list)

    def up(self, *more: str, **environment: str) -> Up:
        self.started.append(Up.start(self.home, str(self.folder / "desk.yaml"), *more, **environment))
        return self.started[-1]

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        status, home = server_status(self.home), Home(self.home)
        assert status.url and status.pid
        url = status.url.removesuffix("/api")
        info = ServerInfo(status.url, url, status.pid, home.auth_file, False, "", self.home)
        with self.speaking_to(info), get_client(sync_client=True) as client:
            yield client

    def run(self) -> UUID:
        """A run of the pipeline, as a webhook or a person starts it."""
        with self.client() as client:
            return client.create_flow_run_from_deployment(client.read_deployment_by_name("retrain/desk").id).id

    def history(self, run: UUID) -> list[str]:
        with self.client():
            return history(run)

    def trains(self, up: Up) -> None:
        """Returns when a training has left a checkpoint."""
        jobs = self.folder / ".contender" / "jobs"
        look = lambda: any(jobs.glob("*/checkpoints/*/checkpoint.json")) and up.running(JOB)  # noqa: E731
        until("a checkpoint", look, 90, lambda: up.said)

    def resumed(self) -> int:
        """The step from which the one training of the workspace went on."""
        (manifest,) = (self.folder / ".contender" / "stages" / "train").glob("*/stage.json")
        found = Workspace(self.folder / ".contender").find("train", manifest.parent.name, TrainReport)
        assert found is not None
        return found.record.resumed_from_step


@pytest.fixture
def place(
    tmp_path: Path, tiny_base: Path, home: Path, speaking_to: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tickets").mkdir()
    write_tickets(tmp_path / "tickets" / "1.csv", tickets(600, seed=1))
    text = PIPELINE.format(base=tiny_base).replace("epochs: 6", "epochs: 40")
    (tmp_path / "desk.yaml").write_text(text + STARTS + LONG)
    made = Place(tmp_path, home, speaking_to)
    yield made
    for up in made.started:
        up.kill_all()


def test_a_run_outlives_each_ctrl_c_and_the_death_of_its_worker(place: Place) -> None:
    up = place.up()
    up.until("Worker 'up' started!")
    run = place.run()
    until("the flow's process", lambda: up.running(ENGINE), 60, lambda: up.said)
    assert "Running" not in place.history(run), "it is still importing"
    document = up.ends()
    assert (document["outcome"], document["message"]) == ("done", "stopped by Ctrl-C")

    up = place.up()
    place.trains(up)
    assert place.history(run)[-4:] == ["AwaitingRetry", *STARTED], "nobody has to wait for an automation"
    up.ends()

    up = place.up()
    place.trains(up)
    assert place.history(run)[-5:] == ["Crashed", "AwaitingRetry", *STARTED], (
        "the automation has seen it, across the restart"
    )
    (worker,) = up.running(WORKER)
    worker.kill()
    up.until("the worker was ended by signal SIGKILL; again in 1 s")
    up.until("the worker was started again")
    up.until("Promoted", 120)
    assert place.history(run)[-6:] == ["Crashed", "AwaitingRetry", *STARTED, "Promoted"]
    assert place.resumed() > 0
    assert up.ends()["restarts"] == {"worker": 1}


def test_a_stack_that_is_ended_at_once_leaves_nothing_and_the_next_one_goes_on(place: Place) -> None:
    up = place.up()
    up.until("Worker 'up' started!")
    run = place.run()
    place.trains(up)
    (job,) = up.running(JOB)
    job.suspend()  # it writes no checkpoint
    up.below()
    up.process.send_signal(signal.SIGINT)
    up.until("Ctrl-C again ends at once")
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(15) == 130, up.said
    up.leaves_nothing(10)

    up = place.up()
    place.trains(up)
    up.below()
    up.process.kill()
    up.process.wait()
    again = place.up()  # at once: it waits for what is left of the first one
    again.until("starting the Prefect server")
    assert {process.pid for process in up.below()} <= {server_status(place.home).pid}
    again.until("Promoted", 120)
    assert place.history(run)[-1] == "Promoted"
    assert place.resumed() > 0
    again.ends()


def answers(port: int, path: str, **headers: str) -> int | None:
    """The status of an HTTP request with exactly these headers; None where what listens there speaks no HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()


def test_from_outside_nothing_is_open_a_second_one_is_refused_and_stop_ends_it_from_elsewhere(place: Place) -> None:
    up = place.up()
    up.until("Worker 'up' started!")
    listening = [c.laddr for process in up.below() for c in process.net_connections() if c.status == "LISTEN"]
    assert listening, "the server at least"
    assert {address.ip for address in listening} == {"127.0.0.1"}
    auth = "Basic " + base64.b64encode(Home(place.home).auth_file.read_bytes()).decode()
    for address in listening:
        for path in ("/", "/api/admin/version", "/api/health", "/hooks/desk", "/metrics", "/docs"):
            assert answers(address.port, path, Host="evil.example", Authorization=auth) in (421, None), (address, path)
            own = f"127.0.0.1:{address.port}"
            elsewhere = {"Host": own, "Origin": "https://evil.example", "Authorization": auth}
            assert answers(address.port, path, **elsewhere) in (403, 404, 405, None), (address, path)
    port = urlsplit(server_status(place.home).url or "").port or 0
    own = f"127.0.0.1:{port}"
    assert answers(port, "/api/admin/version", Host=own) == 401
    assert answers(port, "/api/admin/version", Host=own, Authorization=auth) == 200
    for file in (place.home / "server" / "auth", *(place.home / "stack").iterdir()):
        assert file.stat().st_mode & 0o077 == 0, file
    assert Home(place.home).auth() not in (place.home / "stack" / "worker.log").read_text()

    second = place.up()
    assert second.process.wait(30) == 2
    assert f"process {up.process.pid}: desk" in second.said
    assert json.loads(second.out.read_bytes())["outcome"] == "invalid"
    assert up.process.poll() is None

    up.below()
    stop = [sys.executable, "-P", "-m", "deployments.cli", "up", "--stop", "--json"]
    environment = os.environ | {"CONTENDER_HOME": str(place.home)}
    done = subprocess.run(stop, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["stack"]) == (0, up.process.pid), done.stderr
    assert up.process.wait(10) == 0
    assert json.loads(up.out.read_bytes())["message"] == "stopped by SIGTERM"
    up.leaves_nothing(10)


def test_a_server_that_the_user_chose_is_used_and_stays(place: Place, background_server: ServerInfo) -> None:
    up = place.up(**client_environment(background_server))
    up.until("Worker 'up' started!")
    assert f"using the Prefect server that your settings name: {background_server.url}" in up.said
    assert not Home(place.home).is_alive(), "no other one is started"
    document = up.ends()
    assert document["server"] == {"ui_url": background_server.ui_url, "pid": None}
    assert document["pool"].startswith("contender-local-"), "two machines may use that server"
    assert server_status(background_server.home).healthy
    taken = place.up(CONTENDER_HOME=str(place.folder / "another"), **client_environment(background_server))
    assert taken.process.wait(60) == 2
    assert f"retrain/desk is deployed to the work pool '{document['pool']}'" in taken.said
