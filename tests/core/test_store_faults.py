"""Answers that get lost, writes that land late, bodies that break off: on real servers behind a proxy that does these things."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from contender.errors import AlreadyExists, StoreError, StoreUnavailable
from contender.store.s3 import S3Store


@pytest.fixture
def store(proxy, s3_server) -> S3Store:
    return S3Store(s3_server.bucket, f"f-{secrets.token_hex(6)}", attempts=2)


def puts(proxy) -> int:
    return sum(method == "PUT" for method, _ in proxy.seen)


def test_a_create_whose_answer_was_lost_has_won(store, proxy):
    proxy.inject("lose")
    store.create("n/1", b"mine")
    assert proxy.happened == 1
    assert puts(proxy) == 1, "it was settled by reading, not by writing again"
    assert store.get("n/1") == b"mine"


def test_a_create_whose_answer_was_lost_behind_a_rival_has_lost(store, proxy):
    store.create("n/1", b"rival")
    proxy.inject("lose")
    with pytest.raises(AlreadyExists):
        store.create("n/1", b"mine")
    assert store.get("n/1") == b"rival"


def test_every_answer_of_a_create_may_get_lost_once_it_is_settled_all_the_same(store, proxy):
    proxy.inject("lose", times=1)
    proxy.inject("lose", method="GET", times=1)
    store.create("n/1", b"mine")
    assert proxy.happened == 2
    assert store.get("n/1") == b"mine"


def test_a_create_that_lands_late_is_recognised_by_its_repetition(store, proxy):
    proxy.inject("delay")
    store.create("n/1", b"mine")
    assert puts(proxy) == 2
    assert proxy.land() == 1
    assert store.get("n/1") == b"mine"


def test_a_late_create_does_not_undo_the_rival_that_came_between(store, proxy):
    proxy.inject("delay", times=4)
    with pytest.raises(StoreUnavailable, match="nobody can say"):
        store.create("n/1", b"mine")
    store.create("n/1", b"rival")
    assert proxy.land() == 4
    assert store.get("n/1") == b"rival"


def test_a_create_given_up_as_unknown_is_found_by_the_next_attempt(store, proxy):
    proxy.inject("delay", times=4)
    with pytest.raises(StoreUnavailable):
        store.create("n/1", b"mine")
    proxy.land()
    store.create("n/1", b"mine")


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed"), (500, "InternalError"), (503, "SlowDown")],
)
def test_a_refused_create_is_repeated_where_nothing_is_there(store, proxy, status, code):
    proxy.inject("refuse", status=status, code=code)
    store.create("n/1", b"mine")
    assert puts(proxy) == 2
    assert store.get("n/1") == b"mine"


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_a_store_without_create_only_writes_is_refused(store, proxy, status, code):
    proxy.inject("refuse", status=status, code=code)
    with pytest.raises(StoreError, match="refuses create-only writes") as caught:
        store.create("n/1", b"mine")
    assert "If-None-Match" in caught.value.fix


def test_a_download_that_breaks_off_goes_on_from_its_last_byte(store, proxy):
    data = os.urandom(2_000_000)
    store.put("k", data)
    proxy.inject("cut", method="GET", times=3)
    with store.open("k") as stream:
        assert stream.read() == data
    assert proxy.happened == 3


def test_a_download_that_always_breaks_off_is_unavailable(store, proxy):
    store.put("k", os.urandom(2_000_000))
    proxy.inject("cut", method="GET", times=50)
    with pytest.raises(StoreUnavailable):
        store.get("k")


def test_a_download_of_an_object_that_changes_meanwhile_is_no_mixture(store, proxy):
    store.put("k", os.urandom(2_000_000))
    proxy.inject("cut", method="GET")
    with store.open("k") as stream:
        stream.read(100)
        store.put("k", os.urandom(2_000_000))
        with pytest.raises(StoreUnavailable, match="changed while it was read"):
            stream.read()


def test_a_part_whose_answer_was_lost_is_sent_again(store, proxy, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(33 << 20))
    proxy.inject("lose", part="partNumber")
    store.upload("big", path)
    assert proxy.happened == 1
    with store.open("big") as stream:
        assert stream.read() == path.read_bytes()


def test_an_upload_that_fails_leaves_no_object(store, proxy, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(33 << 20))
    proxy.inject("refuse", part="partNumber", times=50)
    with pytest.raises(StoreUnavailable):
        store.upload("big", path)
    assert list(store.list()) == []


def test_throttled_requests_are_repeated(store, proxy):
    store.put("k", b"1")
    proxy.inject("refuse", method="GET", status=503, code="SlowDown")
    assert store.get("k") == b"1"
    proxy.inject("refuse", method="GET", status=503, code="SlowDown")
    assert [info.key for info in store.list()] == ["k"]


def test_a_store_that_stays_away_is_unavailable_not_missing(store, proxy):
    proxy.inject("refuse", method="GET", times=50)
    with pytest.raises(StoreUnavailable):
        store.get("k")
    with pytest.raises(StoreUnavailable):
        list(store.list())
