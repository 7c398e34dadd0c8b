"""A delivery starts a run where its sender shows a secret by the declared scheme, and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks.webhooks
from gateways import SECRETS, MemoryPrefect, a_pipeline, basic, gateway, github, request_of, standard, without_hook
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from contender.triggers import Webhook
from deployments.gateway import keyring, schemes

ALL = tuple(SECRETS)
BODY = b'{"at": 1}'


pytestmark = pytest.mark.usefixtures("prefect_named")


def all_schemes(folder: Path) -> MemoryPrefect:
    return MemoryPrefect(*(a_pipeline(folder, scheme, scheme) for scheme in ALL), without_hook(folder, "deaf"))


@pytest.fixture
def prefect(tmp_path: Path) -> MemoryPrefect:
    return all_schemes(tmp_path)


@pytest.fixture(scope="module")
def strict(prefect_named: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One gateway for all that is refused; at the end, nothing has started."""
    folder = tmp_path_factory.mktemp("strict")
    prefect = all_schemes(folder)
    with gateway(prefect, folder / "journal.db") as opened:
        yield opened
        assert prefect.asked == 0 and not prefect.runs


@pytest.fixture
def client(prefect: MemoryPrefect, tmp_path: Path) -> Iterator[TestClient]:
    with gateway(prefect, tmp_path / "journal.db") as opened:
        yield opened


@pytest.mark.parametrize("scheme", ALL)
def test_a_sender_that_shows_the_secret_gets_a_run(client: TestClient, prefect: MemoryPrefect, scheme: str) -> None:
    path, headers = request_of(scheme, scheme, BODY)
    answer = client.post(path, content=BODY, headers=headers)
    assert answer.status_code == 202, answer.text
    (run,) = prefect.runs
    said = answer.json()
    assert said["flow_run_id"] == str(run.id) and said["joined"] is False and said["replay"] is False
    assert said["pipeline"] == scheme and said["flow_run_url"].endswith(str(run.id))
    assert run.parameters == {"trigger": "webhook"}, "the deployment's own spec"


@pytest.mark.parametrize(("declared", "sent"), list(itertools.permutations(ALL, 2)))
def test_another_scheme_than_the_declared_one_is_not_tried(strict: TestClient, declared: str, sent: str) -> None:
    path, headers = request_of(sent, declared, BODY)
    answer = strict.post(path, content=BODY, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"]


GOOD_BASIC = basic()["authorization"].split()[1]
FORGERIES = [  # made when the tests are collected, minutes before they are sent
    ("standard", {}),
    ("standard", standard(BODY, key=b"another key")),
    ("standard", standard(BODY, at=time.time() - 3600)),
    ("standard", standard(BODY, at=time.time() + 3600)),
    ("standard", standard(b"another body")),
    ("standard", standard(BODY) | {"webhook-id": "another"}),
    ("standard", standard(BODY, message="with.stop")),
    ("standard", standard(BODY, message="x" * 257)),
    ("standard", standard(BODY) | {"webhook-timestamp": "nan"}),
    ("standard", standard(BODY) | {"webhook-timestamp": f"{int(time.time())}.5"}),
    ("standard", standard(BODY) | {"webhook-timestamp": "9" * 400}),
    ("standard", standard(BODY) | {"webhook-signature": "v1"}),
    ("standard", standard(BODY) | {"webhook-signature": "v1,"}),
    ("standard", standard(BODY) | {"webhook-signature": "v1,!!!"}),
    ("standard", standard(BODY) | {"webhook-signature": standard(BODY, "m")["webhook-signature"].replace("v1", "v1a")}),
    ("standard", standard(BODY) | {"webhook-signature": " ".join(["v1,x"] * 1000)}),
    ("github", {}),
    ("github", github(BODY, secret="wrong")),
    ("github", github(b"another body")),
    ("github", {"x-hub-signature": "sha1=" + hmac.new(b"It's a Secret to Everybody", BODY, "sha1").hexdigest()}),
    ("github", {"x-hub-signature-256": github(BODY)["x-hub-signature-256"].removeprefix("sha256=")}),
    ("github", {"x-hub-signature-256": "sha256=" + "0" * 63}),
    ("github", {"x-hub-signature-256": "sha256=" + "é" * 64}),
    ("huggingface", {}),
    ("huggingface", {"x-webhook-secret": ""}),
    ("huggingface", {"x-webhook-secret": "hf-webhook-secre"}),
    ("huggingface", {"x-webhook-secret": "HF-WEBHOOK-SECRET"}),
    ("huggingface", {"x-webhook-secret": "hf-webhook-secret, hf-webhook-secret"}),
    ("basic", {}),
    ("basic", {"authorization": "Basic"}),
    ("basic", {"authorization": "Basic !!!!"}),
    ("basic", {"authorization": "Basic " + "é"}),
    ("basic", {"authorization": f"Bearer {GOOD_BASIC}"}),
    ("basic", {"authorization": f"Basic {GOOD_BASIC}, Basic {GOOD_BASIC}"}),
    ("basic", basic("sender:wrong")),
    ("basic", basic("sender:")),
    ("basic", basic("")),
    ("token", {"authorization": f"Bearer {SECRETS['token']}"}),
    ("token", {"x-webhook-secret": SECRETS["token"]}),
]


@pytest.mark.parametrize(("scheme", "headers"), FORGERIES)
def test_a_forged_delivery_is_refused_in_one_and_the_same_words(
    strict: TestClient, scheme: str, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = strict.post(f"/hooks/{scheme}", content=BODY, headers=raw)
    assert answer.status_code == 401
    assert answer.json() == strict.post("/hooks/github", content=b"").json()


@pytest.mark.parametrize(
    "token", ["", "/", "a", SECRETS["token"][:-1], f"{SECRETS['token']}/", "%00", "%ff", "%F0%9F%98%80"]
)
def test_another_last_part_of_the_path_is_refused(strict: TestClient, token: str) -> None:
    assert strict.post(f"/hooks/token/{token}").status_code == 401


def test_a_token_is_compared_as_it_is_after_percent_decoding(tmp_path: Path) -> None:
    (tmp_path / "token.secret").write_text("with/slash and ümlaut+")
    prefect = MemoryPrefect(a_pipeline(tmp_path, "odd", "token"))
    with gateway(prefect, tmp_path / "journal.db") as client:
        assert client.post("/hooks/odd/with%2Fslash%20and%20%C3%BCmlaut+").status_code == 202


@pytest.mark.parametrize("twice", ["x-webhook-secret", "authorization", "x-hub-signature-256", "webhook-signature"])
def test_a_header_that_stands_there_twice_is_no_credential(strict: TestClient, twice: str) -> None:
    scheme = {"x-webhook-secret": "huggingface", "authorization": "basic", "x-hub-signature-256": "github"}.get(
        twice, "standard"
    )
    path, headers = request_of(scheme, scheme, BODY)
    assert strict.post(path, content=BODY, headers=[*headers.items(), (twice, "another")]).status_code == 401


@pytest.mark.parametrize("name", ["nobody", "deaf", "%00", "..%2Fdeaf", "Basic", "é", "x" * 5000])
def test_an_unknown_pipeline_and_one_without_webhooks_look_the_same(strict: TestClient, name: str) -> None:
    answer = strict.post(f"/hooks/{name}", headers=basic())
    assert (answer.status_code, answer.json()) == (404, strict.post("/hooks/none").json())


def test_each_of_several_secrets_opens_while_they_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_SECRET", "new")
    (tmp_path / "old").write_text("old\n")
    pipeline = a_pipeline(tmp_path, "two", "huggingface", secrets=["file:old", "env:NEW_SECRET"])
    with gateway(MemoryPrefect(pipeline), tmp_path / "journal.db") as client:
        for secret, status in [("old", 202), ("new", 202), ("older", 401), ("old\n", 401)]:
            body = secret.encode()
            raw = [(b"x-webhook-secret", body.strip() if status == 202 else body)]
            assert client.post("/hooks/two", content=body, headers=raw).status_code == status


def test_a_rotated_file_is_noticed_without_a_restart(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = {"x-webhook-secret": "rotated"}
    assert client.post("/hooks/huggingface", headers=header).status_code == 401
    monkeypatch.setattr(keyring, "KEPT_SECONDS", 0.0)
    (tmp_path / "huggingface.secret").write_text("rotated\r\n")
    assert client.post("/hooks/huggingface", headers=header).status_code == 202
    assert client.post("/hooks/huggingface", headers={"x-webhook-secret": SECRETS["huggingface"]}).status_code == 401


UNUSABLE = [
    ("standard", b"not base64!"),
    ("standard", b"whsec_"),
    ("basic", b"no colon"),
    ("github", b""),
    ("token", b"\n"),
]


@pytest.mark.parametrize(("scheme", "secret"), UNUSABLE)
def test_a_secret_that_cannot_be_one_opens_nothing_and_is_told_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str, secret: bytes
) -> None:
    (tmp_path / f"{scheme}.secret").write_bytes(secret)
    prefect = MemoryPrefect(a_pipeline(tmp_path, "one", scheme))
    with gateway(prefect, tmp_path / "journal.db") as client:
        path, headers = request_of(scheme, "one", BODY)
        answer = client.post(path, content=BODY, headers=headers)
        assert answer.status_code == 503 and answer.headers["retry-after"] and not prefect.runs
        assert "secret cannot be used" in caplog.text and f"{scheme}.secret" in caplog.text
        assert f"{scheme}.secret" not in answer.text and str(tmp_path) not in answer.text
        if secret.strip() not in (b"", b"whsec_"):
            assert secret.decode() not in caplog.text


def test_a_secret_that_is_missing_beside_a_good_one_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("here")
    pipeline = a_pipeline(tmp_path, "one", "huggingface", secrets=["env:NOT_SET_ANYWHERE", "file:here"])
    with gateway(MemoryPrefect(pipeline), tmp_path / "journal.db") as client:
        assert client.post("/hooks/one", headers={"x-webhook-secret": "here"}).status_code == 202
        assert client.post("/hooks/one", headers={"x-webhook-secret": "the other"}).status_code == 503, (
            "it may be right"
        )


def test_githubs_documented_example_is_believed() -> None:
    given = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    webhook = Webhook.model_validate({"scheme": "github", "secrets": ["env:S"]})
    shown = schemes.Shown(Headers(given))
    secrets = [b"another", b"It's a Secret to Everybody"]
    assert schemes.before_body(webhook, secrets, shown) and schemes.signed(webhook, secrets, shown, b"Hello, World!")
    assert not schemes.signed(webhook, secrets, shown, b"Hello, World")
    assert not schemes.signed(webhook, [], shown, b"Hello, World!")


def test_the_documented_example_of_standard_webhooks_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector of the specification's own libraries."""
    at, body = 1614265330, b'{"test": 2432232314}'
    given = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(at),
        "webhook-signature": "v1,bm9ldHU5eGpxbHh2d3Z5eW5hZ2t6Ym5jYm5iY2d6ZGs= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    monkeypatch.setattr(schemes.time, "time", lambda: at + 1)

    class Then(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.fromtimestamp(at + 1, UTC)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Then)
    webhook = Webhook.model_validate({"scheme": "standard", "secrets": ["env:S"]})
    shown = schemes.Shown(Headers(given))
    secrets = [base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    assert schemes.before_body(webhook, secrets, shown) and schemes.signed(webhook, secrets, shown, body)
    assert not schemes.signed(webhook, secrets, shown, body + b" ")


def test_no_comparison_of_secrets_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(schemes.hmac, "compare_digest", lambda a, b: compared.append(len(a)) or real(a, b))
    assert schemes.same([b"right", b"x", b"another"], b"right") and compared == [32, 32, 32]
    compared.clear()
    webhook = Webhook.model_validate({"scheme": "github", "secrets": ["env:S"]})
    given = "sha256=" + hmac.new(b"a", BODY, hashlib.sha256).hexdigest()
    assert schemes.signed(webhook, [b"a", b"b", b"c"], schemes.Shown(Headers({"x-hub-signature-256": given})), BODY)
    assert len(compared) == 3
