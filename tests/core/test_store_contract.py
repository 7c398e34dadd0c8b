"""What every store promises, on a folder, in memory, on an emulator and on Ceph."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contender.errors import AlreadyExists, Missing, UsageError
from contender.store import Below, Fingerprint, LocalStore, Store
from contender.store.s3 import S3Store

RACERS = 20


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, after)]


def part(store: Store | Below, key: str, start: int, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: store.read_into(key, start, memoryview(buffer))])


def race(store: Store, key: str, racers: int = RACERS) -> tuple[list[int], list[int]]:
    """Who won and who lost a create of the same key, all starting at once."""
    start = threading.Barrier(racers)

    def one(number: int) -> bool:
        start.wait()
        try:
            store.create(key, f"writer {number}".encode())
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(racers) as pool:
        won = list(pool.map(one, range(racers)))
    return [n for n in range(racers) if won[n]], [n for n in range(racers) if not won[n]]


def test_what_was_put_is_got(store: Store):
    store.put("a/b c/ü+%.json", b"\0\xff")
    assert store.get("a/b c/ü+%.json") == b"\0\xff"


def test_an_empty_object_is_an_object(store: Store):
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert [info.size for info in store.list()] == [0]


def test_put_replaces_the_whole_object_and_its_version(store: Store):
    store.put("k", b"long content")
    before = next(store.list()).version
    store.put("k", b"short")
    assert store.get("k") == b"short"
    assert next(store.list()).version != before


def test_a_listing_tells_when_an_object_was_written(store: Store):
    before = time.time() - 1  # S3 cuts the fraction off
    store.put("k", b"1")
    store.create("n", b"1")
    for info in store.list():
        assert before <= info.modified <= time.time()


def test_an_absent_object_is_missing(store: Store):
    with pytest.raises(Missing, match="nowhere/x"):
        store.get("nowhere/x")
    with pytest.raises(Missing), store.open("nowhere/x") as stream:
        stream.read()


def test_a_folder_is_no_object(store: Store):
    store.put("a/b", b"1")
    with pytest.raises(Missing):
        store.get("a")


def test_an_open_object_streams_in_pieces(store: Store):
    data = os.urandom(3_000_001)
    store.put("k", data)
    pieces = []
    with store.open("k") as stream:
        while piece := stream.read(100_000):
            pieces.append(piece)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 100_000


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (33 << 20) + 17], ids=["empty", "byte", "one request", "three parts"])
def test_an_upload_arrives_whole_and_is_counted(store: Store, tmp_path: Path, size: int):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    sent: list[int] = []
    store.upload("up/file", path, sent.append)
    with store.open("up/file") as stream:
        assert hashlib.file_digest(stream, "sha256").digest() == hashlib.sha256(path.read_bytes()).digest()  # type: ignore[arg-type]
    assert sum(sent) == size


@pytest.mark.parametrize("size", [0, 1, (16 << 20) - 1, 16 << 20, (33 << 20) + 17])
def test_what_the_store_says_of_an_upload_is_its_fingerprint_or_nothing_can_be_told(
    store: Store, tmp_path: Path, size: int
):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    store.upload("up/file", path)
    found, info = store.fingerprint(path), store.info("up/file")
    listed = next(store.list("up/"))
    assert (info.key, info.size, info.version) == (listed.key, size, listed.version)
    assert int(info.modified) == int(listed.modified)  # some answers leave the fraction out
    if not isinstance(store, LocalStore):
        assert found == Fingerprint(hashlib.sha256(path.read_bytes()).hexdigest(), info.version)
        path.write_bytes(os.urandom(size + 1))
        assert store.fingerprint(path).version != info.version
    else:
        assert found.version == ""


def test_a_part_of_an_object_is_read_and_nothing_behind_its_end(store: Store):
    data = os.urandom(3_000_000)
    store.put("k", data)
    store.put("empty", b"")
    for start, size in ((0, 10), (7, 1_500_000), (2_999_999, 1), (2_999_990, 100), (3_000_000, 5), (9_000_000, 5)):
        assert part(store, "k", start, size) == data[start : start + size]
    assert part(store, "empty", 0, 1) == b""
    for act in (lambda: part(store, "absent", 0, 1), lambda: store.info("absent")):
        with pytest.raises(Missing):
            act()


def test_below_a_folder_all_is_as_in_the_store(store: Store, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    below = Below(store, "folder")
    below.upload("a", path)
    assert store.get("folder/a") == b"content" == part(below, "a", 0, 9)
    assert below.info("a").key == "a"
    assert below.info("a").version == store.info("folder/a").version
    assert below.fingerprint(path) == store.fingerprint(path)
    assert list(below.unfinished()) == []


def test_an_upload_that_nobody_finished_is_found_by_its_age_and_aborted(s3_server):
    store = S3Store(s3_server.bucket, f"t-{secrets.token_hex(6)}")
    client, left = store._client, f"{store.prefix}releases/r-1/model.safetensors"
    for key in (left, f"{store.prefix}other/x", f"{store.prefix}releases"):
        upload = client.create_multipart_upload(Bucket=store.bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=store.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"1")
    assert list(store.unfinished("releases/", older_than=60)) == []
    (found,) = store.unfinished("releases/", older_than=-60)
    assert found.key == "releases/r-1/model.safetensors"
    (found,) = Below(store, "releases").unfinished("r-1/", older_than=-60)
    assert found.key == "r-1/model.safetensors"
    assert abs(found.started - time.time()) < 60
    for _ in range(2):
        Below(store, "releases").abort(found)
    assert list(store.unfinished("releases/", older_than=-60)) == []
    assert len(list(store.unfinished(older_than=-60))) == 2, "what is not below the prefix is left alone"
    for other in store.unfinished(older_than=-60):
        store.abort(other)


def test_a_deleted_object_is_gone_and_deleting_it_again_is_fine(store: Store):
    store.put("k", b"1")
    store.delete("k")
    store.delete("k")
    store.delete("never/there")
    assert keys(store) == []


def test_listing_is_sorted_by_the_bytes_of_the_keys(store: Store):
    names = ["a", "a-b", "a.b", "a/b", "a/b.c", "a/b/c", "a0", "ab", "ä", "z/ä", "z/\U0001f600", "z/￠"]
    names = [name for name in names if name not in ("a", "a/b")]  # a folder cannot hold a file and a folder of one name
    for name in reversed(names):
        store.put(name, b"1")
    assert keys(store) == sorted(names, key=str.encode)


def test_listing_begins_with_the_prefix_and_behind_a_key(store: Store):
    for name in ("a/1", "a/2", "a/20/x", "a/3", "a2", "b/1"):
        store.put(name, b"1")
    assert keys(store, "a/") == ["a/1", "a/2", "a/20/x", "a/3"]
    assert keys(store, "a/2") == ["a/2", "a/20/x"]
    assert keys(store, "a/", after="a/2") == ["a/20/x", "a/3"]
    assert keys(store, "a/", after="a/20/x") == ["a/3"]
    assert keys(store, "", after="a/3") == ["a2", "b/1"]
    assert keys(store, "a/", after="b") == []
    assert keys(store, "c/") == []


@pytest.mark.parametrize("count", [1003])
def test_listing_follows_its_pages(store: Store, count: int):
    names = [f"many/{n:05d}" for n in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b"1"), names))
    assert keys(store, "many/") == names
    assert keys(store, "many/", after=names[-2]) == names[-1:]


def test_a_create_finds_its_own_bytes_and_refuses_those_of_others(store: Store):
    store.create("n/1", b"mine")
    store.create("n/1", b"mine")
    with pytest.raises(AlreadyExists):
        store.create("n/1", b"other")
    assert store.get("n/1") == b"mine"


def test_a_create_does_not_replace_what_was_put(store: Store):
    store.put("n/1", b"put")
    with pytest.raises(AlreadyExists):
        store.create("n/1", b"created")


def test_of_twenty_racers_one_wins(store: Store):
    for number in range(5):
        winners, losers = race(store, f"race/{number}")
        assert len(winners) == 1
        assert len(losers) == RACERS - 1
        assert store.get(f"race/{number}") == f"writer {winners[0]}".encode()
    assert len(keys(store, "race/")) == 5


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "a//b",
        "a/",
        "a\\b",
        "a\0b",
        "a\nb",
        "\udcff",
        "x" * 1000,
    ],
)
def test_a_key_that_could_climb_out_is_refused_by_every_operation(store: Store, tmp_path: Path, key: str):
    path = tmp_path / "file"
    path.write_bytes(b"1")
    for operation in (
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.put(key, b"1"),
        lambda: store.upload(key, path),
        lambda: store.create(key, b"1"),
        lambda: store.delete(key),
    ):
        with pytest.raises(UsageError, match="no key of a store"):
            operation()
    assert keys(store) == []


@pytest.mark.parametrize("prefix", ["../", "/", "a/../..", "\0"])
def test_a_prefix_that_could_climb_out_is_refused(store: Store, prefix: str):
    with pytest.raises(UsageError):
        list(store.list(prefix))


def test_a_browser_is_told_what_it_gets(s3_server):
    store = S3Store(s3_server.bucket, f"t-{secrets.token_hex(6)}")
    written = {
        "e/report.html": "text/html; charset=utf-8",
        "e/evaluation.json": "application/json",
        "e/README.md": "text/markdown; charset=utf-8",
        "e/outcomes.parquet": "application/octet-stream",
    }
    for write in (store.create, store.put):
        for key, kind in written.items():
            write(key, b"<!doctype html>")
            answer = store._client.head_object(Bucket=store.bucket, Key=store.prefix + key)
            assert answer["ContentType"] == kind
