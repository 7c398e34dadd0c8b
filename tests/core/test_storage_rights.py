"""The policies that docs/storage.md gives are enough for what it says, and for no more; on Ceph, which obeys them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from contender.errors import StoreError
from contender.records import ReleaseDraft
from contender.registry import Registry
from contender.store.doctor import examine
from contender.store.fingerprints import PART
from contender.store.s3 import S3Store
from contender.store.s3_client import make_client

pytestmark = [
    pytest.mark.parametrize("s3_server", [pytest.param("ceph", marks=pytest.mark.server("ceph"))], indirect=True),
]
DOCS = Path(__file__).parents[2] / "docs" / "storage.md"


def policies() -> list[str]:
    """Those of a run, of a reader, and what a doctor needs beside a run's."""
    found = re.findall(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    return found


def grant(bucket: str, who: Any, *which: int) -> None:
    statements = [one for n in which for one in json.loads(policies()[n].replace("acme-models", bucket))["Statement"]]
    policy = {"Version": "2012-10-17", "Statement": [{**one, "Principal": who} for one in statements]}
    make_client(None, 1).put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(PART + 1))  # more than one part
    return folder


def test_a_runs_policy_is_enough_for_a_run_and_deletes_nothing_else(bucket: str, stranger, tmp_path: Path):
    S3Store(bucket, "elsewhere").put("x", b"1")
    grant(bucket, stranger.principal, 0)
    stranger.become()
    store = S3Store(bucket, "models")
    registry = Registry(store, "desk")
    registry.require_safe()
    manifest = registry.stage(model(tmp_path / "model"), ReleaseDraft(kind="k", columns={}))
    entry = registry.promote("production", 0, manifest, reason="better", actor="tests")
    assert registry.champion("production") == entry
    assert registry.verify(manifest.release) == manifest
    assert list(store.list(".doctor-")) == []
    for act in (
        lambda: store.delete("desk/aliases/production/00000001.json"),
        lambda: S3Store(bucket, "elsewhere").put("x", b"1"),
        lambda: S3Store(bucket, "elsewhere").get("x"),
    ):
        with pytest.raises(StoreError, match="denied"):
            act()
    assert examine(store).outcome == "done", "what it may not ask is unknown, and no fault"


def test_a_readers_policy_is_enough_to_pull_and_writes_nothing(bucket: str, stranger, tmp_path: Path):
    owner = Registry(S3Store(bucket, "models"), "desk")
    manifest = owner.stage(model(tmp_path / "model"), ReleaseDraft(kind="k", columns={}))
    entry = owner.promote("production", 0, manifest, reason="better", actor="tests")
    grant(bucket, stranger.principal, 1)
    stranger.become()
    store = S3Store(bucket, "models")
    registry = Registry(store, "desk")
    assert registry.champion("production") == entry
    assert registry.fetch(manifest.release, tmp_path / "pulled") == manifest
    assert registry.verify(manifest.release) == manifest
    with pytest.raises(StoreError, match="denied"):
        store.put("x", b"1")
    assert examine(store).outcome == "unknown"


def test_a_doctors_policy_lets_it_see_everything(bucket: str, stranger):
    grant(bucket, stranger.principal, 0, 2)
    stranger.become()
    found = examine(S3Store(bucket, "models"))
    assert found.outcome == "done"
    assert found.of("unknown") == [], found.of("unknown")
    assert list(S3Store(bucket, "models").list()) == []
