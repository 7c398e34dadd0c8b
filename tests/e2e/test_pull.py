"""`pull` and `verify` as somebody who serves a model uses them: with rights to read, and a look at how far it is."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Ran

from contender.errors import StoreError
from contender.records import ReleaseDraft
from contender.registry import TRAIN_KEYS, Registry
from contender.store import LocalStore, Store, open_store
from contender.store.s3_client import make_client
from deployments import terminal

DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "body"})


def promoted(store: Store, folder: Path) -> str:
    """The release of two small files, with keys beside them, that `production` names in the store."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"weights" * 100_000)
    (folder / "keys.parquet").write_bytes(b"keys")
    registry = Registry(store, "desk")
    manifest = registry.stage(folder / "model", DRAFT, {TRAIN_KEYS: folder / "keys.parquet"})
    registry.promote("production", 0, manifest, reason="first", actor="tests")
    return manifest.release


def test_progress_goes_to_stderr_and_the_document_stays_alone(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", -1)
    release = promoted(LocalStore(tmp_path / "registry"), tmp_path)
    pulled = tmp_path / "pulled"
    for arguments, what in (
        (("pull", f"{tmp_path}/registry/desk", str(pulled)), f"pulling {release}"),
        (("verify", f"{tmp_path}/registry/desk"), f"verifying {release}"),
        (("verify", str(pulled)), f"verifying {pulled}"),
    ):
        ran = command(*arguments, "--json")
        assert (ran.code, ran.document["outcome"], ran.document["release"]) == (0, "done", release)
        lines = [line for line in ran.shown.splitlines() if line.startswith(f"  {what}: ")]
        assert lines and "1 of 1 MB" in lines[-1] and lines[-1].endswith("0 s left"), ran.shown


@pytest.fixture
def reader(ceph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of two profiles: `owner`'s own, from which `reader`, another user, may get and list, and do nothing else."""
    name, secret = f"reader-{secrets.token_hex(4)}", secrets.token_hex(16)
    configuration = Path(ceph.certificate).with_name("ceph.conf")
    user = ["user", "create", "--uid", name, "--display-name", name, "--access-key", name, "--secret-key", secret]
    subprocess.run(["radosgw-admin", "-c", configuration, "-n", "client.rgw", *user], check=True, capture_output=True)
    common = f"region = us-east-1\nendpoint_url = {ceph.endpoint}\n"
    (tmp_path / "aws").write_text(
        f"[profile owner]\n{common}aws_access_key_id = {ceph.access_key}\naws_secret_access_key = {ceph.secret_key}\n"
        f"[profile reader]\n{common}aws_access_key_id = {name}\naws_secret_access_key = {secret}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    client, bucket = make_client("owner", 3), f"models-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    rights = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{name}"]},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rights]}))
    return f"s3://{bucket}/models"


@pytest.mark.server("ceph")
def test_rights_to_get_and_to_list_are_enough_to_pull_and_to_verify(
    command: Callable[..., Ran], reader: str, tmp_path: Path
) -> None:
    release = promoted(open_store(reader, "owner"), tmp_path)
    for write in ("put", "create"):
        with pytest.raises(StoreError, match="denied"):
            getattr(open_store(reader, "reader"), write)("desk/x", b"1")
    pulled = tmp_path / "pulled"
    for arguments in (
        ("pull", f"{reader}/desk", str(pulled)),
        ("pull", f"{reader}/desk@production", str(pulled)),
        ("verify", f"{reader}/desk"),
        ("releases", f"{reader}/desk"),
        ("history", f"{reader}/desk"),
    ):
        ran = command(*arguments, "--profile", "reader", "--json")
        assert (ran.code, ran.document["outcome"]) == (0, "done"), ran.shown
    assert command("verify", str(pulled), "--json").document["release"] == release
