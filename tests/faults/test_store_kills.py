"""Ceph's gateway and disk killed with -9 in the middle of uploads and promotions: the same command goes on, nothing is lost."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from standing import standing

from contender.errors import StoreUnavailable
from contender.records import AliasEntry, ReleaseDraft
from contender.registry import Registry, verify_folder
from contender.store.fingerprints import PART
from contender.store.s3 import S3Store

DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"})
pytestmark = [pytest.mark.slow, pytest.mark.server("ceph")]


class Recording(S3Store):
    """Remembers which files were sent, and which of them arrived as far as it was told."""

    def __init__(self, bucket: str, patience: float) -> None:
        super().__init__(bucket, f"k-{secrets.token_hex(4)}", attempts=2, patience=patience)
        self.sent: set[str] = set()
        self.arrived: set[str] = set()
        self.before_create: Callable[[str], None] = lambda key: None
        self.troubled = 0  # requests of creates that got no answer
        self._client_once.meta.events.register("response-received.s3", self._answered)

    def upload(self, key: str, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        self.sent.add(key)
        super().upload(key, path, on_bytes)
        self.arrived.add(key)

    def create(self, key: str, data: bytes) -> None:
        self.before_create(key)
        super().create(key, data)

    def _answered(self, exception: Exception | None = None, **_: object) -> None:
        self.troubled += exception is not None


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        (folder / name).write_bytes(os.urandom(10_000))
    (folder / "model.safetensors").write_bytes(os.urandom(12 * PART))
    return folder


@pytest.mark.parametrize("daemon", ["rgw", "osd"])
def test_an_upload_goes_on_where_the_store_was_killed_in_the_middle(
    bluestore, model: Path, tmp_path: Path, daemon: str
):
    killed = Recording(bluestore.bucket, patience=5.0)
    registry, counted, kills = Registry(killed, "intents"), [0], [0]
    lock = threading.Lock()

    def kill_in_the_middle(count: int) -> None:
        with lock:
            counted[0] += count
            if counted[0] >= 3 * PART and len(killed.arrived) == 3 and not kills[0]:
                kills[0] = 1
                bluestore.kill(daemon)

    with pytest.raises(StoreUnavailable):
        registry.stage(model, DRAFT, on_bytes=kill_in_the_middle)
    bluestore.restart(daemon)
    assert kills == [1]
    arrived = {key.rpartition("/")[2] for key in killed.arrived}
    assert arrived == {"config.json", "tokenizer.json", "vocab.txt"}, "the small ones, before the kill"
    assert registry.releases() == [], "no manifest stands before its files"
    killed.sent.clear()
    manifest = registry.stage(model, DRAFT)
    assert {key.rpartition("/")[2] for key in killed.sent} == {"model.safetensors"}
    assert registry.verify(manifest.release) == manifest
    registry.fetch(manifest.release, tmp_path / "out")
    assert verify_folder(tmp_path / "out") == manifest
    for left in killed.unfinished(older_than=-60):
        killed.abort(left)
    assert list(killed.unfinished(older_than=-60)) == []


@pytest.mark.parametrize(("daemon", "times"), [("rgw", 6), ("osd", 2)])
def test_a_promotion_in_whose_middle_the_store_is_killed_happens_once(bluestore, daemon: str, times: int):
    # Less patient than the disk is long away: the gateway writes what its client gave up.
    killed = Recording(bluestore.bucket, patience=1.0)
    registry = Registry(killed, "intents", patience=90.0)
    told = list[AliasEntry]()

    def kill_and_restart(pause: float) -> None:
        threading.Event().wait(pause)
        bluestore.kill(daemon)
        bluestore.restart(daemon)

    def starting(killer: threading.Thread, key: str) -> None:
        if "/aliases/" in key and killer.ident is None:  # the store is also tried out before
            killer.start()

    for n in range(times):
        # Some milliseconds around the moment at which the entry is written: before, during and after it.
        killer = threading.Thread(target=kill_and_restart, args=(n * 0.002,))
        killed.before_create = lambda key, killer=killer: starting(killer, key)  # type: ignore[misc]
        told.append(registry.promote("production", n, standing(registry, str(n)), reason="better", actor="tests"))
        killer.join()
        assert registry.log("production") == told
    killed.before_create = lambda key: None
    assert killed.troubled, "every entry was answered: was the store killed in time?"
    assert (
        registry.promote("production", times, standing(registry, "last"), reason="better", actor="tests").n == times + 1
    )
    assert len({entry.writer for entry in registry.log("production")}) == times + 1
