"""docs/operations.md as it stands: two Prefect servers on PostgreSQL with Redis, behind nginx with TLS and a base path."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from desk import Desk, tickets
from ports import free_port
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.context import refresh_global_settings_context
from services import at, certificate, environment, nginx, postgres, program, redis, replace, started
from snippets import named
from workers import Worker, flow_run, history, until

pytestmark = [pytest.mark.slow, pytest.mark.server("postgresql"), pytest.mark.timeout(600)]

PREFECT = str(Path(sys.executable).parent / "prefect")
DOCS = named("docs/operations.md")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The page's names → the test's, with all of it running and this process's settings pointing at it."""
    ports = {name: str(free_port()) for name in ("5432", "6379", "4200", "4201", "443")}
    certificate(tmp_path)
    place = {f":{page}": f":{port}" for page, port in ports.items()} | {
        "PORT=6379": f"PORT={ports['6379']}",
        "listen 443": f"listen 127.0.0.1:{ports['443']}",
        "https://ml.example.com": f"https://localhost:{ports['443']}",
        "ml.example.com;": "localhost;",
        ":PASSWORD": "",
        ":AUTH": ":tested",
        "/etc/ssl/ml.example.com.pem": f"{tmp_path}/cert.pem",
        "/etc/ssl/private/ml.example.com.key": f"{tmp_path}/key.pem",
        "/run/nginx-contender.pid": f"{tmp_path}/nginx.pid",
        "/var/log/nginx/": f"{tmp_path}/",
    }
    server = environment(DOCS["server.env"] + DOCS["redis.env"], place) | {"PREFECT_HOME": str(tmp_path / "servers")}
    given = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | server
    with ExitStack() as running:
        running.enter_context(postgres(int(ports["5432"])))
        running.enter_context(redis(tmp_path / "redis", int(ports["6379"])))
        subprocess.run([PREFECT, "server", "database", "upgrade", "-y"], env=given, check=True, capture_output=True)
        for port in (ports["4200"], ports["4201"]):
            command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port, "--no-services"]
            running.enter_context(started(command, tmp_path / f"api-{port}.log", given))
            until("a server", lambda port=port: answers(f"http://127.0.0.1:{port}/prefect/api/health"), 120)
        running.enter_context(started([PREFECT, "server", "services", "start"], tmp_path / "services.log", given))
        running.enter_context(nginx(tmp_path, replace(DOCS["nginx.conf"], place)))
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            monkeypatch.delenv(name)
        for name, value in environment(DOCS["client.env"], place).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "client"))
        refresh_global_settings_context()
        yield place | {"port": ports["5432"]}
    refresh_global_settings_context()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_a_pipeline_is_deployed_and_promoted_through_it_and_a_backup_brings_its_history_back(
    place: dict[str, str], desk: Desk, tmp_path: Path
) -> None:
    site = place["https://ml.example.com"]
    with httpx.Client(verify=ssl.create_default_context(cafile=tmp_path / "cert.pem"), timeout=30) as browser:
        assert browser.get(f"{site}/prefect/").status_code == httpx.codes.OK
        assert browser.get(f"{site}/prefect/ui-settings").json()["api_url"] == f"{site}/prefect/api"
        assert browser.get(f"{site}/prefect/api/version").status_code == httpx.codes.UNAUTHORIZED
        seen = browser.options(
            f"{site}/prefect/api/flow_runs/filter",
            headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        )
        assert "access-control-allow-origin" not in seen.headers
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="contender", type="process"))
    desk.drop("1.csv", tickets(240, seed=1))
    desk.pipeline.write_text(desk.pipeline.read_text().replace("epochs: 6", "epochs: 30"))
    deployed = desk.run("deploy", str(desk.pipeline), "--json")
    assert deployed.code == 0, deployed.shown
    worker = Worker.start("w1", "contender", tmp_path / "w1")
    try:
        with get_client(sync_client=True) as client:
            run = client.create_flow_run_from_deployment(deployed.document["deployments"][0]["id"])
        # One server hears that it crashed, and the process of the services acts on it.
        until("the training", lambda: worker.running("contender.training.job"), 120, lambda: worker.log)
        (engine,) = worker.running("prefect.engine")
        engine.kill()
        until("the run", lambda: flow_run(run.id).state_name == "Promoted", 240, lambda: worker.log)
        assert "AwaitingRetry" in history(run.id)
    finally:
        worker.stop()
        worker.end()

    dump = tmp_path / "prefect.dump"
    subprocess.run([program("pg_dump"), *at(int(place["port"]), "prefect"), "-Fc", "-f", str(dump)], check=True)
    restored = at(int(place["port"]), "restored")
    subprocess.run([program("createdb"), *restored[:-2], "restored"], check=True)
    subprocess.run([program("pg_restore"), *restored, str(dump)], check=True)
    query = f"SELECT state_name FROM flow_run WHERE id = '{run.id}'"
    shown = subprocess.run([program("psql"), *restored, "-tAc", query], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "Promoted"
