"""A training that goes on on another machine: what is sent, in which order, what is skipped, and who may write."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from contender.errors import StageFailed, StoreUnavailable
from contender.files import describe_files
from contender.store import MemoryStore
from contender.training.attempts import Attempts
from contender.training.checkpoints import Checkpoints
from contender.training.launcher import CheckpointOptions, run_job
from contender.training.options import Progress
from contender.training.sharing import SharedCheckpoints


def write(folder: Path, step: int, attempt: int = 1) -> Path:
    checkpoints = Checkpoints(folder / "checkpoints", "job")
    return checkpoints.write(step, lambda into: (into / "state").write_text(str(step)), attempt=attempt, seconds=0)


def shared(store: MemoryStore, folder: Path) -> SharedCheckpoints:
    return SharedCheckpoints(store, "k", folder, Attempts(store, "k"))


def restored(store: MemoryStore, folder: Path) -> int | None:
    shared(store, folder).restore()
    found = Checkpoints(folder / "checkpoints", "job").latest()
    return found[1].step if found else None


@pytest.fixture
def sent(tmp_path: Path) -> MemoryStore:
    """Three checkpoints of machine a, each sent before the next."""
    store = MemoryStore()
    Attempts(store, "k").take(8)
    for step in (5, 10, 15):
        with shared(store, tmp_path / "a").sending() as sending:
            sending.send(write(tmp_path / "a", step))
    return store


def test_the_two_newest_are_there_and_the_newest_goes_on_elsewhere(sent, tmp_path):
    names = {info.key.split("/")[3] for info in sent.list("jobs/k/checkpoints/")}
    assert names == {"00000010-000001", "00000015-000001"}
    assert restored(sent, tmp_path / "b") == 15
    assert not list((tmp_path / "a").glob("sending/*"))


def test_a_damaged_or_half_sent_one_gives_way_to_the_one_before(sent, tmp_path):
    sent.put("jobs/k/checkpoints/00000015-000001/state", b"16")
    sent.put("jobs/k/checkpoints/00000020-000001/state", b"20")  # its manifest never came
    assert restored(sent, tmp_path / "b") == 10


def test_what_this_machine_has_newer_itself_stays(sent, tmp_path):
    write(tmp_path / "b", 40)
    assert restored(sent, tmp_path / "b") == 40


def test_nothing_is_left_once_the_model_is_kept(sent, tmp_path):
    shared(sent, tmp_path / "a").forget()
    Attempts(sent, "k").forget()
    assert list(sent.list()) == []


def test_an_attempt_that_was_succeeded_elsewhere_writes_no_more_and_is_told(sent, tmp_path):
    Attempts(sent, "k").take(8)
    late = shared(sent, tmp_path / "a")
    with late.sending():
        late.send(write(tmp_path / "a", 20))
    with pytest.raises(StageFailed, match="another attempt at this training began elsewhere"):
        late.send(write(tmp_path / "a", 25))
    assert restored(sent, tmp_path / "b") == 15


class Slow(MemoryStore):
    """Its uploads wait until they may go on; the first of them fails."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def upload(self, key: str, path: Path, on_bytes: object = None) -> None:
        if not self.begun.is_set():
            self.begun.set()
            self.go.wait()
            raise StoreUnavailable("the store did not answer", "Try again.")
        super().upload(key, path)


def test_a_slow_store_holds_up_nobody_and_a_failed_upload_is_made_up_for_by_the_next(tmp_path):
    store = Slow()
    Attempts(store, "k").take(8)
    with shared(store, tmp_path / "a").sending() as sending:
        sending.send(write(tmp_path / "a", 5))
        assert store.begun.wait(10)
        for step in (10, 15, 20):  # the training goes on, and removes what it needs no more
            sending.send(write(tmp_path / "a", step))
        store.go.set()
    assert {info.key.split("/")[3] for info in store.list("jobs/k/checkpoints/")} == {"00000020-000001"}
    assert restored(store, tmp_path / "b") == 20


@pytest.mark.slow
def test_a_training_that_goes_on_on_another_machine_ends_with_the_same_files(make_job, tmp_path):
    from contender.errors import TrainingFailed

    store = MemoryStore()
    whole, moved = make_job(output="whole", epochs=12), make_job(output="moved", epochs=12)
    run_job(whole, tmp_path / "whole-job", Attempts(MemoryStore(), "whole"))

    def train(machine: str, kill_at: int | None) -> int:
        folder, attempts = tmp_path / machine, Attempts(store, "k")
        sharing = SharedCheckpoints(store, "k", folder, attempts)
        sharing.restore()
        cadence = CheckpointOptions(steps=10)

        def kill(progress: Progress) -> None:
            if kill_at and progress.checkpoint and progress.checkpoint >= kill_at:
                for child in psutil.Process().children():
                    with suppress(psutil.Error):
                        if "contender.training.job" in child.cmdline():
                            child.kill()

        with sharing.sending():
            report = run_job(moved, folder, attempts, checkpoint=cadence, on_progress=kill, on_checkpoint=sharing.send)
        return report.resumed_from_step

    with pytest.raises(TrainingFailed):
        train("a", kill_at=50)
    assert train("b", kill_at=None) >= 50
    assert describe_files(Path(whole.output)) == describe_files(Path(moved.output))
