"""`contender doctor`: a table, a verdict in one sentence, an exit code."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk, Ran, tickets

from contender.store import LocalStore, Store
from contender.store import doctor as core
from contender.store.s3 import S3Store
from contender.store.s3_client import make_client


def test_a_safe_folder_ends_with_0(command: Callable[..., Ran], tmp_path: Path) -> None:
    ran = command("doctor", str(tmp_path / "registry"), "--json")
    assert (ran.code, ran.document["outcome"]) == (0, "done")
    assert {one["state"] for one in ran.document["findings"]} <= {"ok", "warning"}
    assert ran.document["seconds"] < 3
    assert f"{tmp_path / 'registry'} is safe for a registry" in ran.shown
    assert "✓  race" in ran.shown
    assert not (tmp_path / "registry").exists()


def test_a_safe_bucket_ends_with_0(command: Callable[..., Ran], s3_server) -> None:
    place = f"s3://{s3_server.bucket}/doctor-{secrets.token_hex(4)}"
    ran = command("doctor", place, "--json")
    assert (ran.code, ran.document["outcome"]) == (0, "done"), ran.shown
    assert s3_server.secret_key not in ran.shown + json.dumps(ran.document)


@pytest.mark.parametrize("s3_server", [pytest.param("ceph", marks=pytest.mark.server("ceph"))], indirect=True)
@pytest.mark.usefixtures("prefect_server")
def test_an_unsafe_bucket_ends_with_1_and_a_run_on_it_is_refused_before_it_trains(desk: Desk, s3_server) -> None:
    name = f"versioned-{secrets.token_hex(4)}"
    client = make_client(None, 1)
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    ran = desk.run("doctor", f"s3://{name}/models", "--json")
    assert (ran.code, ran.document["outcome"]) == (1, "unsafe")
    assert "is not safe for a registry: versioning" in ran.shown

    desk.drop("1.csv", tickets(240, seed=1))
    to = ("--set", f"promote.to=s3://{name}/models")
    ran = desk.retrain(*to)
    assert (ran.code, ran.document["outcome"]) == (1, "failed")
    assert "not safe to promote to: versioning" in ran.document["error"]["what"]
    assert "train" not in {stage["name"] for stage in ran.document["stages"]}
    assert list(S3Store(name).list()) == []

    ran = desk.retrain(*to, "--set", "promote.single_writer=true")
    assert (ran.code, ran.document["outcome"], ran.document["alias_entry"]) == (0, "promoted", 1), ran.shown
    assert desk.run("verify", f"s3://{name}/models/desk").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("ftp://x",), 2, "unknown kind of store 'ftp'"),
        (("s3://key:secret@bucket/x",), 2, "holds credentials"),
        (("s3://bucket", "--profile", "nobody"), 2, "unknown AWS profile 'nobody'"),
        (("s3://bucket",), 1, "did not answer"),
    ],
)
def test_a_place_that_is_none_says_so(
    command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    ran = command("doctor", *arguments, "--json")
    assert (ran.code, ran.document["outcome"]) == (code, "invalid" if code == 2 else "failed")
    assert says in ran.document["error"]["what"]


def test_a_bucket_that_is_not_there_ends_with_1(command: Callable[..., Ran], s3_server) -> None:
    ran = command("doctor", "s3://no-such-bucket-here/x", "--json")
    assert (ran.code, ran.document["outcome"]) == (1, "failed")
    assert "no-such-bucket-here does not exist" in ran.shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def listing(probes: Store) -> object:
        os.kill(os.getpid(), number)
        return real(probes)  # type: ignore[arg-type]

    real = core.listing
    monkeypatch.setattr(core, "listing", listing)
    ran = command("doctor", str(tmp_path), "--json")
    assert (ran.code, ran.document["outcome"]) == (130, "interrupted")
    assert "Nothing of the examination stays" in ran.shown
    assert list(LocalStore(tmp_path).list()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_log_file_gets_no_spinner(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "contender"
    done = subprocess.run([script, "doctor", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "examining" not in done.stderr
    assert "\x1b" not in done.stderr
