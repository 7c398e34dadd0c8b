"""Sizes and rates: what is too large is not read, and a flood of forgeries keeps nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import MemoryPrefect, a_pipeline, basic, gateway, request_of
from starlette.requests import Request
from starlette.testclient import TestClient

from deployments.gateway.answers import Refused
from deployments.gateway.limits import Bodies, Bucket

pytestmark = pytest.mark.usefixtures("prefect_named")
LIMIT = 1000


@pytest.fixture
def prefect(tmp_path: Path) -> MemoryPrefect:
    schemes = ("basic", "github", "token", "standard")
    return MemoryPrefect(*(a_pipeline(tmp_path, one, one, max_bytes=LIMIT, per_minute=30) for one in schemes))


@pytest.fixture
def client(prefect: MemoryPrefect, tmp_path: Path) -> Iterator[TestClient]:
    with gateway(prefect, tmp_path / "journal.db") as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["basic", "github", "token", "standard"])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(
    client: TestClient, prefect: MemoryPrefect, scheme: str
) -> None:
    for size, status in [(LIMIT, 202), (LIMIT + 1, 413)]:
        body = b"x" * size
        path, headers = request_of(scheme, scheme, body)
        answer = client.post(path, content=body, headers=headers)
        assert answer.status_code == status and (status == 202 or str(LIMIT) in answer.text)
    assert prefect.created == 1


class Told:
    """A request whose body comes in the given parts."""

    def __init__(self, parts: list[bytes], headers: dict[str, str] | None = None, pause: float = 0) -> None:
        self.read = 0
        self._parts = iter(parts)
        self._pause = pause
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._pause)
        part = next(self._parts, None)
        self.read += len(part or b"")
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}


def refused(bodies: Bodies, told: Told, most: int = LIMIT) -> Refused:
    with pytest.raises(Refused) as raised:
        asyncio.run(bodies.read(told.request, most))
    return raised.value


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "1001"}, 413),
        ({"content-length": "9" * 400}, 413),
        ({"content-length": "-1"}, 422),
        ({"content-length": "1e3"}, 422),
        ({"content-length": "٣"}, 422),
        ({"content-encoding": "gzip"}, 422),
        ({"content-encoding": "identity, br"}, 422),
    ],
)
def test_what_its_headers_rule_out_is_refused_before_a_byte_is_read(headers: dict[str, str], status: int) -> None:
    told = Told([b"x" * 10], headers)
    assert refused(Bodies(), told).status == status and told.read == 0


def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    told = Told([b"x" * 100] * 1_000_000)
    assert refused(Bodies(), told).status == 413 and told.read == LIMIT + 100


def test_a_slow_body_is_given_up() -> None:
    assert refused(Bodies(seconds=0.1), Told([b"x"] * 100, pause=0.02)).status == 408


def test_large_bodies_together_have_a_limit_and_small_ones_always_fit() -> None:
    bodies = Bodies(most=100_000)

    async def at_once() -> list[Any]:
        large = [bodies.read(Told([b"x" * 50_000] * 3, pause=0.02).request, 10**6) for _ in range(4)]
        small = [bodies.read(Told([b"x" * 60_000], pause=0.02).request, 10**6) for _ in range(20)]
        return await asyncio.gather(*large, *small, return_exceptions=True)

    found = asyncio.run(at_once())
    assert [len(one) for one in found[4:]] == [60_000] * 20
    codes = [one.status if isinstance(one, Refused) else len(one) for one in found[:4]]
    assert codes.count(503) == 3 and codes.count(150_000) == 1
    assert bodies._left == 100_000, "what was held is given back"


def test_a_bucket_fills_again_with_time() -> None:
    now = [0.0]
    bucket = Bucket(60, lambda: now[0])
    assert [bucket.take() for _ in range(60)] == [0.0] * 60
    assert bucket.take() == pytest.approx(1.0)
    now[0] += 0.5
    assert bucket.take() == pytest.approx(0.5)
    now[0] += 0.5
    assert bucket.take() == 0.0
    now[0] += 3600
    assert [bucket.take() for _ in range(61)][-1] > 0


def test_above_its_rate_a_pipeline_asks_its_sender_to_wait(client: TestClient, prefect: MemoryPrefect) -> None:
    codes = [client.post("/hooks/basic", content=str(n).encode(), headers=basic()).status_code for n in range(40)]
    assert codes[:30] == [202] * 30 and codes[35:] == [429] * 5
    answer = client.post("/hooks/basic", headers=basic())
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    path, headers = request_of("github", "github", b"1")
    assert client.post(path, content=b"1", headers=headers).status_code == 202, "another pipeline has its own"


def test_a_flood_of_forgeries_does_not_keep_the_true_sender_out(client: TestClient, prefect: MemoryPrefect) -> None:
    codes = [client.post("/hooks/basic", headers=basic(f"a:{n}")).status_code for n in range(100)]
    assert set(codes) == {401, 429} and codes[:30] == [401] * 30 and codes[-1] == 429
    assert client.post("/hooks/basic", content=b"true", headers=basic()).status_code == 202
