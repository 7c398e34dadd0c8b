"""The application around deliveries: its names, its document, what it counts and writes, and what stands in none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import SECRETS, MemoryPrefect, a_pipeline, basic, gateway, request_of
from starlette.testclient import TestClient

from contender.errors import UsageError
from deployments.gateway.__main__ import main
from deployments.gateway.app import Settings, create_app

pytestmark = pytest.mark.usefixtures("prefect_named")
TOKEN = SECRETS["token"]


@pytest.fixture
def prefect(tmp_path: Path) -> MemoryPrefect:
    return MemoryPrefect(a_pipeline(tmp_path, "one"), a_pipeline(tmp_path, "two", "token"))


@pytest.fixture
def client(prefect: MemoryPrefect, tmp_path: Path) -> Iterator[TestClient]:
    with gateway(prefect, tmp_path / "journal.db") as opened:
        yield opened


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_only_a_post_delivers(client: TestClient, method: str) -> None:
    answer = client.request(method, f"/hooks/two/{TOKEN}")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST" and TOKEN not in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/hooks", "/hooks/", "/docs", "/redoc", "/hook/one", "//hooks/one", f"/hook/two/{TOKEN}"]
)
def test_every_other_path_is_nothing(client: TestClient, path: str) -> None:
    answer = client.post(path)
    assert answer.status_code == 404 and answer.json()["error"]["what"] and TOKEN not in answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 202),
        ({"host": "localhost"}, 202),
        ({"host": "hooks.example.org"}, 202),
        ({"host": "HOOKS.example.org:443", "origin": "https://HOOKS.example.org:443"}, 202),
        ({"host": "evil.example.org"}, 421),
        ({"host": "hooks.example.org.evil.org"}, 421),
        ({"host": "127.0.0.1.evil.org"}, 421),
        ({"host": ""}, 421),
        ({"host": "["}, 421),
        ({"host": "127.0.0.1", "origin": "https://evil.example.org"}, 403),
        ({"host": "127.0.0.1", "origin": "null"}, 403),
    ],
)
def test_it_answers_to_loopback_and_to_its_public_name(
    prefect: MemoryPrefect, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with gateway(prefect, tmp_path / "journal.db", "https://hooks.example.org/") as client:
        answer = client.post("/hooks/one", headers=headers | basic())
        assert answer.status_code == status, answer.text
        assert status == 202 or answer.json()["error"]["what"]


def test_a_base_path_of_the_public_url_is_understood_with_and_without_a_proxy_that_strips_it(
    prefect: MemoryPrefect, tmp_path: Path
) -> None:
    with gateway(prefect, tmp_path / "journal.db", "https://ml.example.org/contender/hooks-of/") as client:
        for path in ("/contender/hooks-of/hooks/one", "/hooks/one"):
            assert client.post(path, content=path.encode(), headers=basic()).status_code == 202
        assert client.get("/contender/hooks-of/readyz").status_code == 200
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/contender/hooks-of"}]
        outside = {"host": "ml.example.org"}
        for path in ("/metrics", "/readyz", "/contender/hooks-of/metrics", "/contender/hooks-of/readyz"):
            assert client.get(path, headers=outside).status_code == 404, "it names pipelines"
        assert client.get("/healthz", headers=outside).status_code == 200


def test_the_document_names_every_status_with_an_example(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in ("/hooks/{pipeline}", "/hooks/{pipeline}/{token}"):
        responses = document["paths"][path]["post"]["responses"]
        wanted = {"200", "202", "400", "401", "403", "404", "408", "409", "413", "421", "422", "429", "500", "503"}
        assert set(responses) == wanted
        for status in wanted - {"200", "400", "403", "421"}:
            content = responses[status]["content"]["application/json"]
            shown = (
                [content["example"]] if "example" in content else [one["value"] for one in content["examples"].values()]
            )
            assert shown and all(one for one in shown), status


def test_what_is_counted_has_no_name_from_outside(client: TestClient) -> None:
    client.post("/hooks/one", headers=basic())
    client.post("/hooks/one", headers=basic("no:body"))
    for number in range(50):
        client.post(f"/hooks/guess-{number}/{TOKEN}")
    client.post(f"/hooks/two/{TOKEN}")
    text = client.get("/metrics").text
    assert 'contender_gateway_deliveries_total{pipeline="one",result="accepted"} 1.0' in text
    assert 'contender_gateway_deliveries_total{pipeline="one",result="unauthenticated"} 1.0' in text
    assert 'contender_gateway_deliveries_total{pipeline="",result="unknown"} 50.0' in text
    assert "guess" not in text and TOKEN not in text
    for name in ("delivery_seconds_bucket", "waiting_runs", "journal_bytes", "pipelines"):
        assert f"contender_gateway_{name}" in text
    assert "contender_gateway_delivery_seconds_count 53.0" in text and "journal_bytes 0.0" not in text


def test_a_line_for_each_delivery_holds_no_path_no_header_and_no_token(
    client: TestClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client.post(f"/hooks/two/{TOKEN}", headers={"user-agent": "agent\x1b[31m", "x-custom": "header value"})
    client.post(f"/hooks/{TOKEN}")
    client.post("/hooks/line%0Abreak%1b", headers=basic())
    client.post("/hooks/one", headers=basic("sender:wrong"))
    lines = [json.loads(record.message) for record in caplog.records if "delivery" in record.message]
    assert [(one["pipeline"], one["scheme"], one["result"], one["status"]) for one in lines] == [
        ("two", "token", "accepted", 202),
        ("", "", "unknown", 404),
        ("", "", "unknown", 404),
        ("one", "basic", "unauthenticated", 401),
    ]
    assert all(one["ms"] >= 0 and one["time"].endswith("+00:00") for one in lines)
    said = caplog.text + "".join(capfd.readouterr())
    for secret in (TOKEN, "wrong", "agent", "header value", "\x1b", "break"):
        assert secret not in said


def test_a_flood_does_not_fill_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(320):
        client.post("/hooks/nobody")
    client.post("/hooks/one", headers=basic())
    said = [json.loads(record.message).get("result") for record in caplog.records]
    assert 300 <= said.count("unknown") < 320 and said.count("accepted") == 1
    assert 'result="unknown"} 320.0' in client.get("/metrics").text, "all are counted"


def test_a_fault_of_ours_is_answered_and_tells_the_operator_where(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(f"quotes {TOKEN}")

    monkeypatch.setattr("deployments.gateway.delivery._entry", fail)
    answer = client.post(f"/hooks/two/{TOKEN}")
    assert answer.status_code == 500 and answer.json()["error"]["what"] == "the gateway failed"
    assert "RuntimeError at " in caplog.text and TOKEN not in caplog.text


def test_too_many_at_once_are_asked_to_come_back(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.gateway.delivery.MOST_AT_ONCE", 0)
    answer = client.post("/hooks/one", headers=basic())
    assert answer.status_code == 503 and answer.headers["retry-after"]


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example.org",
        "ftp://example.org",
        "https://",
        "https://u:p@example.org",
        "https://h/?q",
        "http://h:0",
        "http://[",
    ],
)
def test_a_public_url_that_is_none_is_named(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "8000", "--journal", str(tmp_path / "j"), "--public-url", url]) == 2
    assert url in capsys.readouterr().err


def test_a_gateway_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", "0", "--journal", str(tmp_path / "j")]) == 2
    assert "--port 0" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["--port", "8000", "--journal", str(tmp_path / "file" / "j")]) == 2
    assert "cannot keep a journal" in capsys.readouterr().err
    with pytest.raises(UsageError, match="CONTENDER_GATEWAY_JOURNAL is not set"):
        create_app()
    monkeypatch.setenv("CONTENDER_GATEWAY_JOURNAL", str(tmp_path / "j"))
    monkeypatch.setenv("CONTENDER_GATEWAY_PUBLIC_URL", "https://h.example.org/base")
    found = Settings.of(
        {"CONTENDER_GATEWAY_JOURNAL": "j", "CONTENDER_GATEWAY_PUBLIC_URL": "https://h.example.org/base/"}
    )
    assert (found.base_path, "h.example.org" in found.hosts) == ("/base", True)
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert main(["--port", "8000", "--journal", str(tmp_path / "j")]) == 2
    assert "no Prefect server is chosen" in capsys.readouterr().err


def test_a_push_as_github_documents_it_starts_a_run(tmp_path: Path) -> None:
    body = json.dumps(PUSH, indent=2).encode()
    prefect = MemoryPrefect(
        a_pipeline(tmp_path, "desk", "github", map={"train.epochs": "repository.custom_properties.epochs"})
    )
    with gateway(prefect, tmp_path / "journal.db") as client:
        path, headers = request_of("github", "desk", body)
        more = {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/044aadd",
            "x-github-hook-id": "292430182",
        }
        more |= {"x-github-hook-installation-target-type": "repository", "accept": "*/*"}
        answer = client.post(path, content=body, headers=headers | more)
        assert answer.status_code == 202, answer.text
        assert client.post(path, content=body.replace(b"main", b"evil"), headers=headers).status_code == 401
    assert prefect.runs[0].parameters["spec"]["spec"]["train"]["epochs"] == 2


PUSH: dict[str, Any] = {
    "ref": "refs/heads/main",
    "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    "after": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
    "repository": {
        "id": 186853002,
        "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        "name": "Hello-World",
        "full_name": "Codertocat/Hello-World",
        "private": False,
        "owner": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com", "login": "Codertocat"},
        "html_url": "https://github.com/Codertocat/Hello-World",
        "created_at": 1557933565,
        "pushed_at": 1557933657,
        "default_branch": "main",
        "custom_properties": {"epochs": 2},
    },
    "pusher": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
    "sender": {"login": "Codertocat", "id": 21031067, "type": "User", "site_admin": False},
    "created": False,
    "deleted": False,
    "forced": False,
    "base_ref": None,
    "compare": "https://github.com/Codertocat/Hello-World/compare/6113728f27ae...f95f852bd8fc",
    "commits": [
        {
            "id": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
            "message": "Add the tickets of May — “more” 🎉",
            "timestamp": "2019-05-15T15:20:41Z",
            "author": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
            "added": ["tickets/may.csv"],
            "removed": [],
            "modified": [],
        }
    ],
}
