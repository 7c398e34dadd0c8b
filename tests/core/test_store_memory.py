"""The store in memory, and the faults that tests can order from it."""

from __future__ import annotations

import pytest

from contender.errors import AlreadyExists, StoreUnavailable
from contender.store import MemoryStore, open_store


def test_stores_of_one_name_share_their_objects():
    open_store("memory://shared-by-name").put("k", b"1")
    assert open_store("memory://shared-by-name").get("k") == b"1"
    assert list(MemoryStore().list()) == []


def test_an_unavailable_store_does_nothing_as_often_as_ordered():
    store = MemoryStore()
    store.fail("put", "unavailable", times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.put("k", b"1")
    assert list(store.list()) == []
    store.put("k", b"1")
    assert store.get("k") == b"1"


def test_a_lost_answer_of_a_put_hides_that_it_happened():
    store = MemoryStore()
    store.fail("put", "lost_answer")
    with pytest.raises(StoreUnavailable):
        store.put("k", b"1")
    assert store.get("k") == b"1"


def test_a_create_whose_answer_was_lost_counts_as_won():
    store = MemoryStore()
    store.fail("create", "lost_answer")
    store.create("n/1", b"mine")
    assert [operation for operation, _ in store.calls] == ["create", "get"]


def test_a_late_create_lands_only_where_nothing_is():
    store = MemoryStore()
    store.fail("create", "late", times=4)
    with pytest.raises(StoreUnavailable):
        store.create("n/1", b"mine")
    assert list(store.list()) == []
    store.create("n/1", b"rival")
    assert store.land() == 4
    assert store.get("n/1") == b"rival"


def test_a_create_of_which_nobody_knows_says_so():
    store = MemoryStore()
    store.fail("create", "lost_answer", times=4)
    store.fail("get", "unavailable", times=4)
    with pytest.raises(StoreUnavailable, match="nobody can say"):
        store.create("n/1", b"mine")
    store.heal()
    store.create("n/1", b"mine")
    with pytest.raises(AlreadyExists):
        store.create("n/1", b"other")


def test_faults_concern_the_prefix_they_name():
    store = MemoryStore()
    store.fail("put", "unavailable", prefix="a/")
    store.put("b/1", b"1")
    with pytest.raises(StoreUnavailable):
        store.put("a/1", b"1")


def test_a_corrupted_object_differs_in_one_bit():
    store = MemoryStore()
    store.put("k", b"\0\0")
    store.corrupt("k", at=1)
    assert store.get("k") == b"\0\1"
