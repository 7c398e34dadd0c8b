"""examples/serve.py as people copy it: a server of its own, asked without a pause while its alias moves."""

from __future__ import annotations

import importlib.util
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from desk import COLOURS, Desk, tickets
from faulty_proxy import faulty
from starlette.testclient import TestClient

import contender
from contender.kinds import kind
from contender.records import ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.serving import Follower
from contender.store import LocalStore, MemoryStore, open_store
from contender.training.saving import save_model_files

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve.py"
DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"}, label_names=COLOURS)


def staged(registry: Registry, base: Path, folder: Path, seed: int) -> ReleaseManifest:
    """A release of the tiny base with a head of its own."""
    import torch

    torch.manual_seed(seed)
    found = kind("text-classification")
    save_model_files(found.load_model(base, COLOURS), found.load_processor(base), 16, folder / f"model-{seed}")
    return registry.stage(folder / f"model-{seed}", DRAFT)


@dataclass
class Asked:
    """What one client after the other got: status and release, in the order of its requests."""

    answers: list[list[tuple[int, str]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.answers))

    @property
    def statuses(self) -> set[int]:
        return {status for client in self.answers for status, _ in client}

    def seen(self) -> list[list[str]]:
        """For each client the releases in the order in which they answered."""
        return [
            [release for place, (_, release) in enumerate(client) if not place or client[place - 1][1] != release]
            for client in self.answers
        ]


@dataclass
class Served:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def until(self, what: Callable[[], object], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def until_release(self, release: str) -> None:
        self.until(lambda: self.get("/version").json().get("release") == release)

    @contextmanager
    def asked(self, clients: int = 4) -> Iterator[Asked]:
        """Requests from several clients without a pause, while the block lasts."""
        asked, over = Asked(), threading.Event()

        def ask(number: int) -> None:
            dice = random.Random(number)
            got: list[tuple[int, str]] = []
            asked.answers.append(got)
            with httpx.Client(timeout=60) as client:
                while not over.wait(0.01):  # two cores train meanwhile
                    texts = [f"word{dice.randrange(60)} {dice.choice(COLOURS)}" for _ in range(dice.randint(1, 5))]
                    try:
                        answer = client.post(f"{self.url}/predict", json={"texts": texts})
                        found = answer.json()
                        got.append((answer.status_code, found["release"]))
                        assert len(found["answers"]) == len(texts)
                    except Exception as error:  # noqa: BLE001 - whatever a client meets is what is counted
                        asked.faults.append(repr(error))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield asked
        finally:
            over.set()
            for thread in threads:
                thread.join()


@contextmanager
def serving(name: str, folder: Path, **environment: str) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, log = int(probe.getsockname()[1]), folder / "serve.log"
    options = ["--port", str(port), "--every", "0.3", "--folder", str(folder / "serving"), "--device", "cpu"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", str(EXAMPLE), name, *options],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:

        def answers() -> bool:
            try:
                return served.get("/health").status_code in (200, 503)
            except httpx.HTTPError:
                return False

        served.until(answers)
        yield served
    finally:
        process.terminate()
        assert process.wait(30) in (0, -15), log.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_promotion_and_a_rollback_reach_the_server_and_no_request_fails(desk: Desk, tmp_path: Path) -> None:
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))  # labels at random: whatever is learnt later is better
    first = desk.retrain()
    assert first.document["outcome"] == "promoted", first.shown
    old = first.document["release"]
    with serving(f"{desk.registry}/desk", tmp_path) as served, served.asked() as asked:
        assert served.get("/version").json() | {"since": "", "device": ""} == {
            "release": old,
            "entry": 1,
            "since": "",
            "device": "",
        }
        desk.drop("2.csv", tickets(900, seed=2))
        second = desk.retrain()
        assert (second.document["outcome"], second.document["alias_entry"]) == ("promoted", 2), second.shown
        new = second.document["release"]
        served.until_release(new)
        texts = [text for text, _ in tickets(60, seed=5)]
        answer = httpx.post(f"{served.url}/predict", json={"texts": texts, "top": 2}).json()
        assert answer["release"] == new
        assert desk.run("pull", "desk", str(tmp_path / "pulled")).code == 0
        expected = contender.load(tmp_path / "pulled", device="cpu").predict(texts)
        assert [labels[0]["label"] for labels in answer["answers"]] == [one.label for one in expected]
        assert all(len(labels) == 2 and labels[0]["score"] > labels[1]["score"] for labels in answer["answers"])

        registry = Registry(LocalStore(desk.registry), "desk")
        registry.rollback("production", reason="back", actor="tests")
        served.until_release(old)
        assert served.get("/version").json()["entry"] == 3
        count = asked.count
        served.until(lambda: asked.count > count + 20)
    assert asked.faults == [] and asked.statuses == {200}
    assert asked.count > 100
    assert asked.seen() == [[old, new, old]] * 4, "each client saw each move once, and no step back between"


def test_a_store_that_is_away_and_a_damaged_release_stop_no_server(s3_server, tiny_base: Path, tmp_path: Path) -> None:
    url = f"s3://{s3_server.bucket}/serve-{secrets.token_hex(4)}"
    store = open_store(url)
    registry = Registry(store, "desk")
    one, two, three = (staged(registry, tiny_base, tmp_path, seed) for seed in (1, 2, 3))
    registry.promote("production", 0, one, reason="first", actor="tests")
    with faulty(s3_server.endpoint) as proxy:
        proxy.on = False
        with (
            serving(f"{url}/desk@production", tmp_path, AWS_ENDPOINT_URL=proxy.endpoint) as served,
            served.asked(2) as asked,
        ):
            assert served.get("/version").json().get("release") == one.release, served.get("/health").text
            proxy.away = True
            served.until(lambda: served.get("/health").json()["status"] == "behind")
            health = served.get("/health")
            assert health.status_code == 200 and "did not answer" in health.json()["trouble"]
            registry.promote("production", 1, two, reason="better", actor="tests")
            key = f"desk/releases/{two.release}/model/model.safetensors"
            whole = store.get(key)
            store.put(key, whole[:-1] + bytes([whole[-1] ^ 1]))
            proxy.away = False
            served.until(lambda: two.release in (served.get("/health").json()["trouble"] or ""))
            assert "model.safetensors" in served.get("/health").json()["trouble"]
            assert served.get("/version").json()["release"] == one.release
            registry.promote("production", 2, three, reason="better yet", actor="tests")
            served.until_release(three.release)
            assert served.get("/health").json()["status"] == "ok"
    assert asked.faults == [] and asked.statuses == {200}
    assert asked.seen() == [[one.release, three.release]] * 2
    assert s3_server.secret_key not in served.log.read_text()


# --- what it takes ---


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serve_example", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["serve_example"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(example: ModuleType, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("serve")
    registry = Registry(MemoryStore(), "desk")
    release = staged(registry, tiny_base, folder, 1)
    registry.promote("production", 0, release, reason="first", actor="tests")
    with TestClient(example.application(Follower(registry, "production", folder / "serving", device="cpu"))) as opened:
        yield opened


@pytest.mark.parametrize(
    ("question", "where", "what"),
    [
        ({}, "body.texts", "required"),
        ({"texts": []}, "body.texts", "at least 1"),
        ({"texts": ["private"] * 65}, "body.texts", "at most 64"),
        ({"texts": ["red", "private" * 2000]}, "body.texts.1", "at most 10000"),
        ({"texts": "private"}, "body.texts", "list"),
        ({"texts": ["red", None]}, "body.texts.1", "string"),
        ({"texts": ["red"], "top": 0}, "body.top", "greater than or equal to 1"),
        ({"texts": ["red"], "privat": 1}, "body.privat", "not permitted"),
    ],
)
def test_what_it_does_not_take_is_said_and_not_repeated(
    client: TestClient, question: dict[str, Any], where: str, what: str
) -> None:
    answer = client.post("/predict", json=question)
    assert answer.status_code == 422
    (fault,) = answer.json()["detail"]
    assert fault["where"] == where and what in fault["what"]
    assert "private" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"texts": ["\\ud800"]}', b'{"texts": ["\xff"]}'])
def test_a_body_that_is_no_question_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


def test_a_body_that_is_too_long_is_not_read(client: TestClient) -> None:
    assert client.post("/predict", content=b" " * 3_000_000).status_code == 413
    assert client.post("/predict", content=iter([b"{", b"}"])).status_code == 411, "of unknown length"


def test_texts_of_any_content_are_answered(client: TestClient) -> None:
    texts = ["", " ", "\x00\x1b[2J", "😀", "red " * 2000, "<script>"]
    answer = client.post("/predict", json={"texts": texts, "top": 3})
    assert answer.status_code == 200
    for labels in answer.json()["answers"]:
        assert {one["label"] for one in labels} == set(COLOURS)
        assert sum(one["score"] for one in labels) == pytest.approx(1)


def test_without_a_release_it_says_that_it_is_not_ready(example: ModuleType, tmp_path: Path) -> None:
    follower = Follower(Registry(MemoryStore(), "desk"), "production", tmp_path, device="cpu")
    with TestClient(example.application(follower)) as client:
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "not ready")
        for answer in (client.post("/predict", json={"texts": ["red"]}), client.get("/version")):
            assert answer.status_code == 503 and "names no release yet" in answer.json()["detail"]


def test_it_listens_on_loopback_alone_unless_told_otherwise(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(example.uvicorn, "run", lambda app, **options: asked.update(options))
    monkeypatch.setattr(sys, "argv", ["serve.py", "/models/desk"])
    example.main()
    assert asked == {"host": "127.0.0.1", "port": 8000}
