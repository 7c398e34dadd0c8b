"""Which API is used, who the guard lets pass, and what the server's files say: all without a server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from contender.errors import UsageError
from deployments.environment import chosen_api, client_settings, server_environment, server_settings
from deployments.guard import Activity, Guard, refusal
from deployments.home import Home, ServerFailed, State, take_lock, write_private
from deployments.pages import Pages
from deployments.server import (
    ServerInfo,
    _listen,
    client_environment,
    ensure_server,
    in_use,
    sign_in_url,
    stop_server,
)

URL = "https://prefect.example/api"
STATE = State("http://127.0.0.1:4200", 4711, "0123456789abcdef", "3.8.8")


# --- the user's own API -----------------------------------------------------------------------------------------------


def test_without_any_setting_no_api_is_chosen(tmp_path: Path) -> None:
    assert chosen_api({"PREFECT_HOME": str(tmp_path)}, tmp_path) is None


def test_the_environment_wins_over_every_file(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://file/api"')
    assert chosen_api({"PREFECT_API_URL": URL, "PREFECT_HOME": str(tmp_path)}, tmp_path) == URL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", f"# ours\nexport PREFECT_API_URL='{URL}'\n"),
        ("prefect.toml", f'[api]\nurl = "{URL}"\n'),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"\n'),
        ("profiles.toml", f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "{URL}"\n'),
    ],
)
def test_prefect_and_we_find_the_same_api(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    environment = {"PREFECT_HOME": str(tmp_path), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    script = "from prefect.settings import get_current_settings as s; print(s().api.url)"
    theirs = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert chosen_api(environment, tmp_path) == theirs.stdout.strip() == URL


def test_the_profile_named_in_the_environment_is_the_active_one(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        f'active = "local"\n[profiles.local]\n[profiles.team]\nPREFECT_API_URL = "{URL}"'
    )
    environment = {"PREFECT_HOME": str(tmp_path)}
    assert chosen_api(environment, tmp_path) is None
    assert chosen_api({**environment, "PREFECT_PROFILE": "team"}, tmp_path) == URL


@pytest.mark.parametrize("text", ["not toml [", "active = 3", "profiles = 1\nactive = 'x'", "[profiles]\nx = 1"])
def test_a_broken_profiles_file_chooses_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "profiles.toml").write_text(text)
    assert chosen_api({"PREFECT_HOME": str(tmp_path)}, tmp_path) is None


def test_choosing_and_starting_import_nothing_heavy() -> None:
    script = "import sys, deployments.server; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "deployments" in loaded
    assert {"prefect", "pydantic", "asyncio", "psutil", "httpx"}.isdisjoint(loaded)


# --- environments -----------------------------------------------------------------------------------------------------


def test_the_server_inherits_no_secret_and_no_prefect_setting() -> None:
    given = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "https_proxy": "http://p",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PREFECT_PROFILE": "x",
    }
    kept = server_environment(given | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert kept == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "https_proxy": "http://p",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def test_every_setting_is_one_that_prefect_knows(tmp_path: Path) -> None:
    from prefect.settings import Settings

    def names(model: Any) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            choices = getattr(field.validation_alias, "choices", ())
            found |= {str(choice).upper() for choice in choices if isinstance(choice, str)}
            found.add(f"{model.model_config['env_prefix']}{name}".upper())
            if hasattr(field.annotation, "model_fields"):
                found |= names(field.annotation)
        return found

    given = server_settings("http://o", "a:b", tmp_path) | client_settings("http://o/api", "a:b", tmp_path, tmp_path)
    assert len(given) > 10
    assert set(given) - names(Settings) == {"DO_NOT_TRACK", "CONTENDER_PAGES", "CONTENDER_PAGES_URL"}


# --- the guard --------------------------------------------------------------------------------------------------------


def scope(kind: str = "http", path: str = "/api/x", **headers: str) -> dict[str, Any]:
    return {"type": kind, "path": path, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost", "localhost:80", "[::1]:4200", "LOCALHOST:1"])
def test_loopback_names_pass_whatever_the_port(host: str) -> None:
    assert refusal(scope(host=host)) is None
    assert refusal(scope(host=host, origin=f"http://{host}")) is None


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "[", "127.1"])
def test_any_other_host_is_misdirected(host: str) -> None:
    assert (refusal(scope(host=host)) or (0,))[0] == 421


def test_a_missing_or_repeated_host_is_misdirected() -> None:
    assert (refusal(scope()) or (0,))[0] == 421
    twice = scope(host="localhost")
    twice["headers"].append((b"host", b"evil.example"))
    assert (refusal(twice) or (0,))[0] == 421


@pytest.mark.parametrize(
    "origin", ["null", "https://127.0.0.1:1", "http://127.0.0.1:2", "http://localhost:1", "http://evil"]
)
def test_any_other_origin_is_forbidden(origin: str) -> None:
    assert (refusal(scope(host="127.0.0.1:1", origin=origin)) or (0,))[0] == 403


def drive(guard: Guard, given: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{given['type']}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(given, receive, send))
    return sent


def test_a_refused_request_never_reaches_the_app() -> None:
    async def app(*_: object) -> None:
        raise AssertionError("reached")

    guard = Guard(app, "i", Activity(), Pages(Path("nowhere")))
    assert drive(guard, scope(host="evil"))[0]["status"] == 421
    assert drive(guard, scope("websocket", host="localhost", origin="http://evil"))[0]["type"] == "websocket.close"


def test_an_open_request_keeps_the_server_awake_and_its_end_starts_the_clock() -> None:
    now = [0.0]
    activity = Activity(lambda: now[0])
    seen: list[float] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        now[0] += 100
        seen.append(activity.idle_seconds())

    now[0] = 5
    assert activity.idle_seconds() == 5
    drive(Guard(app, "i", activity, Pages(Path("nowhere"))), scope("websocket", host="localhost"))
    now[0] += 7
    assert (seen, activity.idle_seconds()) == ([0.0], 7)


# --- files and locks --------------------------------------------------------------------------------------------------


def test_a_lock_is_held_once_and_freed_with_its_holder(tmp_path: Path) -> None:
    first = take_lock(tmp_path / "lock")
    assert first is not None and take_lock(tmp_path / "lock") is None
    assert take_lock(tmp_path / "lock", shared=True) is None
    os.close(first)
    shared = [take_lock(tmp_path / "lock", shared=True) for _ in range(2)]
    assert None not in shared and take_lock(tmp_path / "lock") is None


def test_the_auth_string_is_kept_unless_others_could_have_read_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    first = home.auth()
    assert first.startswith("contender:") and len(first) > 40 and home.auth() == first
    home.auth_file.chmod(0o644)
    assert home.auth() != first and home.auth_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', "null"])
def test_a_damaged_state_file_says_nothing(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.prepare()
    home.state_file.write_text(text)
    assert home.read_state() is None


def test_a_home_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="CONTENDER_HOME"):
        Home.of(tmp_path / "file").prepare()


def test_the_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path))
    assert Home.of().folder == tmp_path
    monkeypatch.delenv("CONTENDER_HOME")
    assert Home.of().folder == Path.home() / ".contender"


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


@pytest.mark.parametrize("content", [b"99999", b"-5", b"0", b"", b"x", b"\xff\xfe", b"9" * 5000])
def test_a_port_that_is_none_is_drawn_anew(home: Home, content: bytes) -> None:
    home.port_file.write_bytes(content)
    with _listen(home) as listener:
        assert home.port_file.read_text() == str(listener.getsockname()[1])


def test_the_last_port_is_taken_again_and_a_port_that_cannot_be_noted_is_not_needed(home: Home) -> None:
    with _listen(home) as listener:
        port = listener.getsockname()[1]
    with _listen(home) as listener:
        assert listener.getsockname()[1] == port
    home.port_file.unlink()
    home.port_file.mkdir()
    with _listen(home) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"no-colon", b"contender:with space and\nlines", b"contender:", b"\0"]
)
def test_an_auth_string_that_is_none_is_drawn_anew(home: Home, content: bytes) -> None:
    write_private(home.auth_file, "")
    home.auth_file.write_bytes(content)
    assert home.auth().startswith("contender:") and home.auth().isascii()


@pytest.mark.parametrize("name", ["alive.lock", "clients.lock", "server.log", "auth", "server.json"])
def test_a_folder_where_a_file_should_be_is_named_and_nothing_is_started(home: Home, name: str) -> None:
    (home.server / name).mkdir()
    with pytest.raises(ServerFailed) as failed:
        ensure_server(home.folder)
    assert str(home.server / name) in failed.value.what and "Move it away" in failed.value.fix
    shutil.rmtree(home.server / name)
    assert not home.is_alive()


def test_a_secret_that_is_lost_under_a_running_server_is_not_replaced(home: Home) -> None:
    info = ServerInfo("http://127.0.0.1:1/api", "http://127.0.0.1:1", 1, home.auth_file, False, "i", home.folder)
    for lose in (home.auth_file.unlink, lambda: home.auth_file.write_bytes(b"\xff"), home.auth_file.unlink):
        home.auth()
        assert client_environment(info)["PREFECT_API_AUTH_STRING"] == home.auth()
        lose()
        for act in (lambda: client_environment(info), lambda: sign_in_url(info)):
            with pytest.raises(ServerFailed, match=str(home.auth_file)) as failed:
                act()
            assert "contender up --stop" in failed.value.fix


@pytest.mark.parametrize("file", ["server.json", "alive.lock"])
def test_the_state_survives_the_loss_of_either_file_that_holds_it(home: Home, file: str) -> None:
    os.close(take_lock(home.alive_lock) or 0)
    home.write_state(STATE)
    assert home.read_state() == STATE
    (home.server / file).write_bytes(b"\xff{")
    assert home.read_state() == STATE
    home.forget_state()
    assert home.read_state() is None and not home.state_file.exists() and home.alive_lock.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"url": 1},
        {"url": "http://127.0.0.1:99999"},
        {"url": "http://evil:80"},
        {"pid": "1"},
        {"pid": -5},
        {"pid": True},
        {"instance": None},
        {"instance": ""},
        {"prefect": 3},
        {"more": 1},
    ],
)
def test_a_state_that_cannot_be_a_servers_says_nothing(home: Home, change: dict[str, object]) -> None:
    home.state_file.write_text(json.dumps(asdict(STATE) | change))
    assert home.read_state() is None


def test_a_server_that_names_itself_nowhere_cannot_be_stopped_and_that_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.server.STOP_SECONDS", 0.1)
    held = take_lock(home.alive_lock)
    assert held is not None
    with pytest.raises(ServerFailed, match=r"alive\.lock") as failed:
        stop_server(home.folder)
    assert "deployments.serve" in failed.value.fix
    os.close(held)


def test_a_server_is_in_use_while_another_process_holds_the_clients_lock(home: Home) -> None:
    assert not in_use(home.folder) and not home.clients_lock.exists()
    client = take_lock(home.clients_lock, shared=True)
    assert client is not None and in_use(home.folder)
    os.close(client)
    assert not in_use(home.folder)
    ending = take_lock(home.clients_lock)  # an idle server that is about to end: nobody's runs
    assert ending is not None and not in_use(home.folder)
    os.close(ending)
