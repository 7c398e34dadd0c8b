"""Files on their way: sent once and known to have arrived, fetched in parts and never a mixture."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contender.errors import Damaged, StoreUnavailable
from contender.records import FileEntry
from contender.store import MemoryStore, ObjectInfo, Store, transfer
from contender.store.s3 import S3Store
from contender.store.transfer import PART, fault_of, receive, send

LARGE = 4 * PART + 17  # bytes: five parts of a download, three of an upload


def entry(data: bytes) -> FileEntry:
    return FileEntry(path="model.safetensors", size=len(data), sha256=hashlib.sha256(data).hexdigest())


def sent(store: Store, data: bytes, folder: Path, there: dict[str, int] | None = None) -> FileEntry:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    send(store, [("m/model.safetensors", path, entry(data))], there or {}, None)
    return entry(data)


@pytest.fixture
def behind(proxy, s3_server) -> S3Store:
    """A store behind a proxy that sees, and damages, what passes."""
    return S3Store(s3_server.bucket, f"t-{secrets.token_hex(6)}", attempts=2)


# --- up ---


@pytest.mark.parametrize("size", [1000, LARGE])
def test_an_upload_to_s3_is_confirmed_by_the_store_and_not_read_back(behind, proxy, tmp_path: Path, size: int):
    data = os.urandom(size)
    file = sent(behind, data, tmp_path)
    assert {method for method, _ in proxy.seen} <= {"PUT", "POST", "HEAD"}
    assert fault_of(behind, "m/model.safetensors", file) == ""


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_file_that_arrived_is_neither_sent_nor_downloaded_again(behind, proxy, tmp_path: Path, size: int):
    data = os.urandom(size)
    sent(behind, data, tmp_path)
    proxy.seen.clear()
    sent(behind, data, tmp_path, there={"m/model.safetensors": size})
    assert [method for method, _ in proxy.seen] == ["HEAD"]


class Flipping(S3Store):
    """One bit of what is sent is another one, and nothing on the way notices."""

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        other = path.with_name("flipped")
        other.write_bytes(data)
        super().upload(key, other, on_bytes)


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_bit_that_flips_on_the_way_up_is_found(s3_server, tmp_path: Path, size: int):
    store = Flipping(s3_server.bucket, f"t-{secrets.token_hex(6)}")
    with pytest.raises(Damaged, match=r"model\.safetensors has other content"):
        sent(store, os.urandom(size), tmp_path)


def test_other_bytes_of_the_same_length_are_replaced(store: Store, tmp_path: Path):
    store.put("m/model.safetensors", b"other")
    file = sent(store, b"bytes", tmp_path, there={"m/model.safetensors": 5})
    assert store.get("m/model.safetensors") == b"bytes"
    assert fault_of(store, "m/model.safetensors", file) == ""


class Encrypting(MemoryStore):
    """Its versions are no digests of contents, as those of objects that are encrypted with a key of the store's."""

    def info(self, key: str) -> ObjectInfo:
        return replace(super().info(key), version="0" * 32)


def test_where_the_store_cannot_tell_the_file_is_read_back(tmp_path: Path):
    store = Encrypting()
    sent(store, b"bytes", tmp_path)
    assert ("get", "m/model.safetensors") in store.calls
    store.calls.clear()
    sent(store, b"bytes", tmp_path, there={"m/model.safetensors": 5})
    assert [operation for operation, _ in store.calls] == ["list", "get"]


def test_a_file_that_changes_after_it_was_described_is_not_taken_for_what_it_was(store: Store, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"after.")
    with pytest.raises(Damaged, match="has other content"):
        send(store, [("m", path, entry(b"before"))], {}, None)


# --- down ---


def put(store: Store, data: bytes, folder: Path) -> FileEntry:
    path = folder / "source"
    path.write_bytes(data)
    store.upload("m", path)
    return entry(data)


def test_a_large_file_is_fetched_in_parts_and_counted(store: Store, tmp_path: Path):
    data, counted = os.urandom(LARGE), []
    file = put(store, data, tmp_path)
    assert receive(store, "m", file, tmp_path / "out" / "file", counted.append) == ""
    assert (tmp_path / "out" / "file").read_bytes() == data
    assert sum(counted) == LARGE


def test_parts_that_break_off_go_on_and_the_others_are_not_read_again(behind, proxy, tmp_path: Path):
    data = os.urandom(LARGE)
    file = put(behind, data, tmp_path)
    proxy.inject("cut", method="GET", times=3)
    assert receive(behind, "m", file, tmp_path / "file", None) == ""
    assert (tmp_path / "file").read_bytes() == data
    assert sum(method == "GET" for method, _ in proxy.seen) == 5 + 3


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of a mebibyte, two at once."""
    monkeypatch.setattr(transfer, "PARTS_AT_ONCE", 2)
    monkeypatch.setattr(transfer, "AHEAD", 2)
    monkeypatch.setattr(transfer, "PART", 1 << 20)
    return 1 << 20


def test_a_download_that_was_interrupted_goes_on_with_what_is_there(behind, proxy, tmp_path: Path, small_parts: int):
    data, counted = os.urandom(8 * small_parts + 17), []
    file = put(behind, data, tmp_path)

    def interrupt(count: int) -> None:
        counted.append(count)
        if len(counted) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        receive(behind, "m", file, tmp_path / "file", interrupt)
    proxy.seen.clear()
    counted.clear()
    assert receive(behind, "m", file, tmp_path / "file", counted.append) == ""
    assert (tmp_path / "file").read_bytes() == data
    assert len(proxy.seen) in (5, 6), "the last two parts once more"
    assert sum(counted) == len(data)


def test_a_download_that_was_killed_between_two_parts_fills_the_gap(tmp_path: Path, small_parts: int):
    data, store, counted = os.urandom(8 * small_parts + 17), MemoryStore(), []
    file = put(store, data, tmp_path)
    begun = data[: 3 * small_parts] + bytes(small_parts) + data[4 * small_parts : 5 * small_parts]
    (tmp_path / "file").write_bytes(begun)
    store.calls.clear()
    assert receive(store, "m", file, tmp_path / "file", counted.append) == ""
    assert (tmp_path / "file").read_bytes() == data
    assert len(store.calls) == 6, "three parts were there"
    assert sum(counted) == len(data)


@pytest.mark.parametrize("begun", [1, 3 << 20, (8 << 20) + 17, 20 << 20])
def test_the_beginning_of_another_file_is_replaced(tmp_path: Path, small_parts: int, begun: int):
    store, data, counted = MemoryStore(), os.urandom(8 * small_parts + 17), []
    file = put(store, data, tmp_path)
    (tmp_path / "file").write_bytes(b"x" * begun)
    assert receive(store, "m", file, tmp_path / "file", counted.append) == ""
    assert (tmp_path / "file").read_bytes() == data
    assert sum(counted) == len(data)


@pytest.mark.parametrize("change", [-PART, -1, 1, 10 * PART], ids=["much less", "less", "more", "much more"])
def test_an_object_that_shrank_or_grew_is_refused_and_fills_no_disk(store: Store, tmp_path: Path, change: int):
    data, counted = os.urandom(LARGE), []
    file = put(store, data, tmp_path)
    put(store, data[:change] if change < 0 else data + bytes(change), tmp_path)
    assert "other content" in receive(store, "m", file, tmp_path / "file", counted.append)
    assert not (tmp_path / "file").exists()
    assert sum(counted) <= LARGE + 1
    assert "bytes instead of" in fault_of(store, "m", file)


def test_an_object_that_changes_between_its_parts_is_no_mixture(tmp_path: Path):
    data = os.urandom(LARGE)

    class Changing(MemoryStore):
        def read_into(self, key: str, start: int, buffer: memoryview) -> int:
            found = super().read_into(key, start, buffer)
            self.put(key, bytes(LARGE))
            return found

    store = Changing()
    file = put(store, data, tmp_path)
    assert "other content" in receive(store, "m", file, tmp_path / "file", None)
    assert not (tmp_path / "file").exists()


def test_a_store_that_goes_away_leaves_what_came_before(tmp_path: Path, small_parts: int):
    data = os.urandom(8 * small_parts)

    class Away(MemoryStore):
        until = 5 * small_parts

        def read_into(self, key: str, start: int, buffer: memoryview) -> int:
            if start >= self.until:
                raise StoreUnavailable("away", "Try again.")
            return super().read_into(key, start, buffer)

    store = Away()
    file = put(store, data, tmp_path)
    with pytest.raises(StoreUnavailable):
        receive(store, "m", file, tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == data[: 5 * small_parts]
    store.until = len(data) + 1
    store.calls.clear()
    assert receive(store, "m", file, tmp_path / "file", None) == ""
    assert [operation for operation, _ in store.calls] == ["get"] * 6
