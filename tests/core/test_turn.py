"""Locks of this machine: between processes, after deaths, and where their files go away; and which GPUs there are to lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpus import A, B, fake_driver

from contender import stopping
from contender.errors import Interrupted
from contender.gpus import hold_gpu, visible_gpus
from contender.progress import Note, listening
from contender.turn import Lock

HOLD = """
import sys, time
from contender.turn import Lock
lock = Lock(sys.argv[1])
assert lock.take()
lock.sign("a-flow-run", "a-lease")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `x`."""
    process = subprocess.Popen([sys.executable, "-P", "-c", HOLD, "x"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_has_one_holder_who_is_named_and_a_killed_one_lets_go(holder):
    lock = Lock("x")
    assert not lock.take()
    assert (lock.holder().pid, lock.holder().flow_run_id) == (holder.pid, "a-flow-run")
    assert f"process {holder.pid}" in lock.holder().sentence
    holder.kill()
    holder.wait()
    assert lock.take()
    assert lock.before.lease == "a-lease", "what a dead holder left elsewhere is known"


def test_a_lock_that_was_let_go_in_order_leaves_nothing():
    lock = Lock("x")
    assert lock.take()
    lock.sign("run", "lease")
    lock.release()
    assert lock.take()
    assert lock.before is None


def test_a_removed_lock_file_does_not_make_two_holders_of_new_ones():
    first = Lock("x")
    assert first.take()
    first.path.unlink()
    second, third = Lock("x"), Lock("x")
    assert second.take(), "the file is gone, and so is what it kept out"
    assert not third.take()


def test_a_signature_that_is_no_signature_is_nobody(tmp_path):
    lock = Lock("x")
    lock.path.parent.mkdir(parents=True)
    lock.path.write_text("{")
    assert lock.take()
    assert lock.before is None


def test_where_no_lock_can_be_kept_nobody_waits(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "file"))
    lock = Lock("x")
    assert lock.take()
    lock.sign("run")
    lock.release()
    assert "no lock can be kept" in caplog.text


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{fake_driver(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, [A, B]),
        ("1", [B]),
        ("1,0", [B, A]),
        (A, [A]),
        ("GPU-bbbb", [B]),
        ("", []),
        ("-1", []),
        ("0,7,1", [A]),
        ("MIG-1/2/3", ["MIG-1/2/3"]),
    ],
)
def test_the_gpus_that_may_be_used_are_those_that_cuda_would_show(asked, found, monkeypatch):
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible_gpus() == found


def test_a_machine_without_a_driver_has_no_gpus_and_waits_for_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    with hold_gpu() as environment:
        assert environment == {}


def test_a_driver_that_fails_is_no_gpu(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible_gpus() == []


@pytest.mark.usefixtures("two_gpus")
def test_two_runs_take_two_gpus_and_a_third_waits_until_it_is_asked_to_stop():
    told: list[Note] = []
    with hold_gpu() as one, hold_gpu() as other:
        assert {one["CUDA_VISIBLE_DEVICES"], other["CUDA_VISIBLE_DEVICES"]} == {A, B}

        def stop(note: Note) -> None:
            told.append(note)
            os.kill(os.getpid(), signal.SIGTERM)

        with stopping.stoppable(), listening(stop), pytest.raises(Interrupted), hold_gpu():
            pass
    assert [note.text for note in told] == ["waiting for a GPU: 2 of 2 in use"]
    with hold_gpu() as again:
        assert again["CUDA_VISIBLE_DEVICES"] == A
