"""The background Prefect server: one for all, guarded from outside, gone when nobody uses it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets

from deployments.environment import without_heartbeats
from deployments.home import Home, State
from deployments.server import (
    ServerFailed,
    ServerInfo,
    client_environment,
    ensure_server,
    in_use,
    leave_server,
    server_status,
    sign_in_url,
    stop_server,
)

Answer = tuple[int, dict[str, str], bytes]


def ask(server: ServerInfo, method: str, path: str, **headers: str) -> Answer:
    """One raw request, with exactly these headers; `Host` is what a client would send unless given."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": urlsplit(server.url).netloc} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def basic(server: ServerInfo) -> str:
    return "Basic " + base64.b64encode(server.auth_file.read_bytes()).decode()


def test_a_request_without_the_auth_string_gets_401(background_server: ServerInfo) -> None:
    assert ask(background_server, "GET", "/api/flows/count")[0] == 401
    assert ask(background_server, "GET", "/api/admin/version", Authorization="Basic " + "eDp5")[0] == 401
    assert ask(background_server, "GET", "/api/admin/version", Authorization=basic(background_server))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "0.0.0.0", "10.0.0.1"])
def test_a_foreign_host_is_refused_even_with_the_auth_string(background_server: ServerInfo, host: str) -> None:
    for path in ("/api/admin/version", "/api/health", "/", "/contender/health"):
        assert ask(background_server, "GET", path, Host=host, Authorization=basic(background_server))[0] == 421


def test_a_cross_origin_preflight_gets_no_allow_header(background_server: ServerInfo) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    for origin in ("https://evil.example", "http://localhost:3000", "null"):
        status, headers, _ = ask(background_server, "OPTIONS", "/api/flow_runs/filter", Origin=origin, **asked)
        assert status == 403
        assert not [name for name in headers if name.startswith("access-control-allow")]


def test_a_request_of_another_origin_is_refused_even_with_the_auth_string(background_server: ServerInfo) -> None:
    secret = basic(background_server)
    status, headers, _ = ask(
        background_server, "GET", "/api/admin/version", Origin="https://evil.example", Authorization=secret
    )
    assert (status, headers.get("access-control-allow-origin")) == (403, None)
    own = f"http://{urlsplit(background_server.url).netloc}"
    assert ask(background_server, "GET", "/api/admin/version", Origin=own, Authorization=secret)[0] == 200


def test_a_post_without_a_csrf_token_is_refused(background_server: ServerInfo) -> None:
    secret = basic(background_server)
    missing = ask(background_server, "POST", "/api/flows/count", Authorization=secret, Content_Length="0")
    invented = ask(
        background_server,
        "POST",
        "/api/flows/count",
        Authorization=secret,
        Content_Length="0",
        Prefect_Csrf_Token="t",
        Prefect_Csrf_Client="c",
    )
    assert missing[0] == 403 and b"CSRF" in missing[2]
    assert invented[0] == 403 and "access-control-allow-origin" not in invented[1]


async def _create_runs(server: ServerInfo, runs: int) -> list[int]:
    """Presses Run so often at once; the answers' statuses. No request is repeated, as the UI repeats none."""
    auth = httpx.BasicAuth(*server.auth_file.read_text().split(":", 1))
    async with httpx.AsyncClient(base_url=server.url, auth=auth, timeout=60) as client:
        token = (await client.get("/csrf-token", params={"client": "many"})).json()["token"]
        client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "many"})
        flow = (await client.post("/flows/", json={"name": "pressed"})).json()
        made = (await client.post("/deployments/", json={"name": "pressed", "flow_id": flow["id"]})).json()
        path = f"/deployments/{made['id']}/create_flow_run"
        return [
            answer.status_code for answer in await asyncio.gather(*(client.post(path, json={}) for _ in range(runs)))
        ]


def test_requests_that_write_at_once_wait_for_each_other(background_server: ServerInfo) -> None:
    assert asyncio.run(_create_runs(background_server, 12)) == [201] * 12


async def _first_message(url: str, token: str | None, origin: str | None) -> str:
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("prefect")], origin=origin) as socket:
        await socket.send(json.dumps({"type": "auth", "token": token}))
        return str(json.loads(await socket.recv())["type"])


def test_a_websocket_needs_the_auth_string_and_no_foreign_origin(background_server: ServerInfo) -> None:
    url = background_server.url.replace("http", "ws") + "/events/in"
    token = background_server.auth_file.read_text()
    assert asyncio.run(_first_message(url, token, None)) == "auth_success"
    with pytest.raises(websockets.ConnectionClosed):
        asyncio.run(_first_message(url, "wrong", None))
    with pytest.raises(websockets.InvalidStatus):
        asyncio.run(_first_message(url, token, "https://evil.example"))


def test_the_server_listens_on_loopback_alone(background_server: ServerInfo) -> None:
    import psutil

    listening = [c.laddr.ip for c in psutil.Process(background_server.pid).net_connections() if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_secrets_are_their_owners_alone(background_server: ServerInfo) -> None:
    home = Home(background_server.home)
    assert home.auth_file.stat().st_mode & 0o777 == 0o600
    assert home.state_file.stat().st_mode & 0o777 == 0o600
    assert {home.server.stat().st_mode & 0o777, home.prefect.stat().st_mode & 0o777} == {0o700}
    assert home.log_file.stat().st_mode & 0o777 == 0o600
    assert home.auth() not in home.log_file.read_text()


def test_a_second_call_finds_the_first_ones_server(background_server: ServerInfo) -> None:
    again = ensure_server(background_server.home)
    assert (again.pid, again.url, again.started) == (background_server.pid, background_server.url, False)
    status = server_status(background_server.home)
    assert status.running and status.healthy and status.pid == background_server.pid


def test_flows_run_and_their_history_can_be_read(prefect_server: ServerInfo) -> None:
    from prefect import flow, get_client, task

    @task(persist_result=False)
    def double(number: int) -> int:
        return 2 * number

    @flow(name="doubling", persist_result=False)
    def doubling() -> int:
        return double(21)

    assert doubling() == 42
    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == prefect_server.url
        assert "doubling" in [flow.name for flow in client.read_flows()]


def test_the_ui_opens_signed_in_through_the_link(background_server: ServerInfo) -> None:
    link = urlsplit(sign_in_url(background_server))
    status, headers, body = ask(background_server, "GET", link.path)
    assert status == 200 and headers["x-frame-options"] == "DENY"
    assert link.fragment == background_server.auth_file.read_text() and link.fragment.encode() not in body
    settings = json.loads(ask(background_server, "GET", "/ui-settings")[2])
    assert (settings["auth"], settings["csrf_enabled"], settings["api_url"]) == ("BASIC", True, "/api")


def test_the_ui_can_neither_load_nor_send_anything_elsewhere(background_server: ServerInfo) -> None:
    _, headers, page = ask(background_server, "GET", "/v2/", Accept="text/html")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert b"<script" in page
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert not [source for part in policy.values() for source in part.split() if source in ("*", "http:", "https:")]


def test_without_heartbeats_a_run_starts_no_thread_for_them(prefect_server: ServerInfo) -> None:
    import threading

    from prefect import flow

    @flow(persist_result=False)
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "(run)" in thread.name]

    assert threads()
    with without_heartbeats():
        assert threads() == []


# --- birth and death --------------------------------------------------------------------------------------------------

START = """
import json, sys, time
from pathlib import Path
from deployments.server import ensure_server
info = ensure_server(Path(sys.argv[1]), idle_minutes=float(sys.argv[2]))
print(json.dumps([info.pid, info.started]), flush=True)
time.sleep(float(sys.argv[3]))
"""


def start_elsewhere(home: Path, idle_minutes: float, then_stay: float = 0) -> subprocess.Popen[str]:
    arguments = [str(home), str(idle_minutes), str(then_stay)]
    return subprocess.Popen([sys.executable, "-c", START, *arguments], stdout=subprocess.PIPE, text=True)


def wait_for_end(home: Path, seconds: float) -> float:
    """Seconds until no server lives there."""
    began = time.monotonic()
    while Home(home).is_alive():
        assert time.monotonic() - began < seconds, "the server did not end"
        time.sleep(0.05)
    return time.monotonic() - began


def test_two_first_runs_start_one_server_that_outlives_them_and_ends_when_idle(
    tmp_path: Path, background_server: ServerInfo
) -> None:
    home = tmp_path / "home"
    (home / "prefect").mkdir(parents=True)
    copy_of_database(background_server, home)
    idle_seconds, stay_seconds = 1.0, 3.0
    runs = [start_elsewhere(home, idle_seconds / 60, stay) for stay in (0.0, stay_seconds)]
    # Each one's output ends with its process: the server holds none of their pipes.
    answers = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert len({pid for pid, _ in answers}) == 1
    assert sorted(started for _, started in answers) == [False, True]
    # One of the two stayed for longer than the idle time without a request: a training run does.
    assert server_status(home).running
    assert wait_for_end(home, 20) > 0
    assert not Home(home).state_file.exists()
    assert Home(home).log_file.read_text().count("\n") == 1, Home(home).log_file.read_text()


def copy_of_database(server: ServerInfo, home: Path) -> None:
    import sqlite3
    from contextlib import closing

    source, target = server.home / "prefect" / "prefect.db", home / "prefect" / "prefect.db"
    with closing(sqlite3.connect(source)) as used, closing(sqlite3.connect(target)) as copy:
        used.backup(copy)


def test_a_server_that_dies_at_start_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(b"no database " * 1000)
    with pytest.raises(ServerFailed) as failed:
        ensure_server(tmp_path)
    database = tmp_path / "prefect" / "prefect.db"
    assert failed.value.what == f"the Prefect server's database {database} is damaged: file is not a database"
    assert "Move it away" in failed.value.fix and str(tmp_path / "server" / "server.log") in failed.value.fix
    assert not Home(tmp_path).is_alive() and not Home(tmp_path).state_file.exists()


def test_a_server_whose_state_file_is_lost_is_found_told_in_use_and_stopped(
    tmp_path: Path, background_server: ServerInfo
) -> None:
    (tmp_path / "prefect").mkdir()
    copy_of_database(background_server, tmp_path)
    run = start_elsewhere(tmp_path, idle_minutes=1, then_stay=60)
    try:
        assert run.stdout
        pid, _ = json.loads(run.stdout.readline())
        Home(tmp_path).state_file.unlink()
        began = time.monotonic()
        assert server_status(tmp_path).pid == pid and server_status(tmp_path).healthy
        assert in_use(tmp_path)
        assert json.loads(start_elsewhere(tmp_path, idle_minutes=1).communicate(timeout=60)[0]) == [pid, False]
        assert stop_server(tmp_path) is True
        assert not Home(tmp_path).is_alive() and time.monotonic() - began < 30
        assert Home(tmp_path).read_state() is None
    finally:
        run.kill()
        run.communicate()
    assert not in_use(tmp_path)


@pytest.mark.slow
def test_whoever_leaves_ends_the_server_only_where_nobody_else_uses_it(
    tmp_path: Path, background_server: ServerInfo
) -> None:
    (tmp_path / "prefect").mkdir()
    copy_of_database(background_server, tmp_path)
    other = start_elsewhere(tmp_path, idle_minutes=1, then_stay=60)
    try:
        assert other.stdout
        other.stdout.readline()
        ensure_server(tmp_path)
        assert leave_server(tmp_path) is False
        assert server_status(tmp_path).healthy
    finally:
        other.kill()
        other.communicate()
    ensure_server(tmp_path)
    assert leave_server(tmp_path) is True
    assert not Home(tmp_path).is_alive() and not in_use(tmp_path)


def test_stopping_where_nothing_runs_says_so_and_makes_nothing(tmp_path: Path) -> None:
    assert stop_server(tmp_path / "home") is False
    assert server_status(tmp_path / "home").running is False
    assert not (tmp_path / "home").exists()


def test_a_stale_state_file_with_a_reused_pid_is_not_taken_for_a_server(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    home.write_state(State("http://127.0.0.1:1", os.getpid(), "0" * 16, "3.8.8"))
    assert server_status(tmp_path).running is False
    assert stop_server(tmp_path) is False  # and this process, which has the pid, goes on


def test_the_clients_environment_is_complete(background_server: ServerInfo) -> None:
    environment = client_environment(background_server)
    assert environment["PREFECT_API_URL"] == background_server.url
    assert environment["PREFECT_API_AUTH_STRING"] == background_server.auth_file.read_text()
    assert environment["DO_NOT_TRACK"] == "1"
