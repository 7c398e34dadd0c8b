"""One writer at a time on a store that keeps nobody apart: the entry is read back, and the guard is held while it is written."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from careless import Careless, Refusing
from racing import winners
from standing import standing

from contender.errors import AliasMoved, AlreadyExists, StoreUnavailable, UnsafeStore
from contender.records import ReleaseDraft
from contender.registry import Registry
from contender.store import MemoryStore, Store
from contender.store.guarded import SingleWriter, single_writer
from contender.store.s3 import S3Store
from contender.store.s3_client import make_client

MINISTACK = pytest.param("ministack", marks=pytest.mark.server("ministack"))
CEPH = pytest.param("ceph", marks=pytest.mark.server("ceph"))


def promote(registry: Registry, expected: int, name: str = "a", guard: Any = None) -> Any:
    return registry.promote("live", expected, standing(registry, name), reason="better", actor=name, guard=guard)


@pytest.mark.parametrize("kind", [MemoryStore, Careless, Refusing])
def test_a_create_finds_its_own_bytes_and_refuses_those_of_others(kind: type[Store]):
    store = single_writer(kind())
    store.create("n/1", b"mine")
    store.create("n/1", b"mine")
    with pytest.raises(AlreadyExists):
        store.create("n/1", b"other")
    assert store.get("n/1") == b"mine"


def test_it_is_put_around_a_store_once():
    store = single_writer(MemoryStore())
    assert single_writer(store) is store
    assert isinstance(store.store, MemoryStore)


def test_a_store_that_has_create_only_still_uses_it():
    inner = MemoryStore()
    single_writer(inner).create("n/1", b"mine")
    assert [operation for operation, _ in inner.calls if operation != "get"] == ["create"]


class Overwritten(Careless):
    """Somebody else's bytes land right behind each write."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, b"a rival")


def test_what_is_read_back_decides_whatever_the_store_said():
    with pytest.raises(AlreadyExists):
        single_writer(Overwritten()).create("n/1", b"mine")


def test_an_answer_that_was_lost_is_settled_by_reading():
    inner = MemoryStore()
    inner.fail("create", "lost_answer")
    single_writer(inner).create("n/1", b"mine")
    inner.fail("get", "unavailable", times=100)
    with pytest.raises(StoreUnavailable, match="nobody can say"):
        single_writer(inner).create("n/2", b"mine")


@pytest.mark.parametrize("kind", [Careless, Refusing])
def test_an_unsafe_store_takes_a_promotion_only_with_a_guard(kind: type[Store]):
    for store in (kind(), single_writer(kind())):
        registry = Registry(store, "desk", patience=0.0)
        with pytest.raises(UnsafeStore, match="create-only") as caught:
            promote(registry, 0)
        assert "contender doctor" in caught.value.fix
        assert registry.log("live") == []


@pytest.mark.parametrize("kind", [Careless, Refusing, MemoryStore])
def test_the_guard_is_held_while_the_entry_is_written(kind: type[Store]):
    held: list[bool] = []

    class Watched(SingleWriter):
        def create(self, key: str, data: bytes) -> None:
            if "/aliases/" in key:
                seen.append(bool(held))
            super().create(key, data)

    @contextmanager
    def guard() -> Iterator[None]:
        held.append(True)
        yield
        held.pop()

    seen: list[bool] = []
    registry = Registry(Watched(kind()), "desk", patience=0.0)
    promote(registry, 0, guard=guard())
    assert seen == [True]
    assert held == []
    with pytest.raises(AliasMoved):
        promote(registry, 0, "b", guard=guard())


@pytest.mark.parametrize(
    ("s3_server", "how"),
    [(*MINISTACK.values, "ignored"), (*MINISTACK.values, "refused"), (*CEPH.values, "versioned")],
    indirect=["s3_server"],
)
@pytest.mark.server("ceph")
def test_racing_promoters_that_wait_for_each_other_lose_and_double_nothing(
    proxy: Any, s3_server: Any, how: str, tmp_path: Path
):
    name = f"single-{secrets.token_hex(4)}"
    client = make_client(None, 1)
    client.create_bucket(Bucket=name)
    if how == "versioned":
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    else:
        proxy.conditions = how
    store = S3Store(name, "models")
    with pytest.raises(UnsafeStore, match="versioning" if how == "versioned" else "create-only"):
        Registry(store, "desk").require_safe()

    registry = Registry(single_writer(store), "desk", patience=0.0)
    registry.require_safe(guarded=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    staged = registry.stage(tmp_path / "model", ReleaseDraft(kind="k", columns={}))
    assert registry.verify(staged.release) == staged

    lease = threading.Lock()
    entries = winners(5, 3, lambda n, name: promote(registry, n, name, guard=lease))
    assert registry.log("live") == entries
    assert registry.champion("live") == entries[-1]
    assert [info.key for info in store.list(".doctor-")] == []
