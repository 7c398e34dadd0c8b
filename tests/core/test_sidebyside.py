"""Work side by side: the order of what it gives, and that whatever ends it, by a signal or by one that fails, ends all of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from gpus import A, B, fake_driver

from contender import stopping
from contender.errors import Interrupted, TrainingFailed
from contender.gpus import hold_gpu
from contender.progress import Note, listening, tell
from contender.sidebyside import side_by_side


class Long:
    """Work that goes on until it is asked to stop, as a training does: then it has a checkpoint, unless it was killed."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.told: list[int] = []

    def __call__(self) -> None:
        asked = threading.Event()

        def stop(number: int) -> None:
            self.told.append(number)
            asked.set()

        with stopping.stoppable(first=stop):
            self.begun.set()
            assert asked.wait(20)
        raise Interrupted("stopped", "", signal.SIGKILL not in self.told)


class Stubborn(Long):
    """Work that only a kill ends, as a training does that writes a large checkpoint."""

    def __call__(self) -> None:
        with stopping.stoppable(first=self.told.append):
            self.begun.set()
            while signal.SIGKILL not in self.told:
                time.sleep(0.01)


class Resting(Long):
    """Work that waits before it tries again, as Prefect does: nothing can wake it."""

    def __init__(self) -> None:
        super().__init__()
        self.woken, self.over = threading.Event(), threading.Event()
        self.found: list[bool] = []

    def __call__(self) -> None:
        stopping.rest(True)
        self.begun.set()
        self.woken.wait(20)
        stopping.rest(False)
        self.found.append(stopping.asked())
        self.over.set()


def behind(works: list[Long], then: Callable[[], None]) -> threading.Thread:
    """Does it once all of them are at work."""

    def act() -> None:
        for work in works:
            assert work.begun.wait(20)
        then()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_results_have_the_order_of_the_calls_and_so_many_are_at_work_at_once() -> None:
    both = threading.Barrier(2)

    def work(number: int) -> int:
        both.wait(20)  # nobody passes alone
        time.sleep(0.05 * (4 - number))
        return number

    assert side_by_side([partial(work, number) for number in range(4)], 2) == [0, 1, 2, 3]


def test_no_more_are_at_work_than_were_asked_for() -> None:
    at_work: set[int] = set()
    most = []

    def work(number: int) -> None:
        at_work.add(number)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.discard(number)

    side_by_side([partial(work, number) for number in range(9)], 3)
    assert max(most) == 3


def test_one_at_a_time_is_done_by_the_caller_itself() -> None:
    assert side_by_side([threading.current_thread, threading.current_thread], 1) == [threading.current_thread()] * 2
    assert side_by_side([threading.current_thread], 4) == [threading.current_thread()]
    assert side_by_side([], 4) == []


def test_whoever_listens_to_the_caller_hears_of_all() -> None:
    told: list[str] = []
    with listening(lambda note: told.append(note.text)):
        side_by_side([lambda: tell(Note("train", "moved", "one")), lambda: tell(Note("train", "moved", "two"))], 2)
    assert sorted(told) == ["one", "two"]


def test_one_that_fails_ends_the_others_with_their_checkpoints_and_is_what_is_told() -> None:
    long, begun = Long(), []

    def fail() -> None:
        assert long.begun.wait(20)
        raise TrainingFailed("the loss is no number")

    with pytest.raises(TrainingFailed, match="no number"):
        side_by_side([long, fail, lambda: begun.append(1)], 2)
    assert long.told == [signal.SIGTERM]
    assert not begun
    assert not stopping.asked(), "the caller itself was not asked to stop"


def test_what_begins_once_another_failed_finds_itself_asked() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise TrainingFailed("the loss is no number")

    def late() -> None:
        assert failed.wait(20)
        while not stopping.asked():
            time.sleep(0.01)
        Long()()

    with pytest.raises(TrainingFailed):
        side_by_side([late, fail], 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_all_and_the_end_is_resumable(number: signal.Signals) -> None:
    works = [Long(), Long()]
    begun: list[int] = []
    with stopping.stoppable(), pytest.raises(Interrupted) as stop:
        killer = behind(works, partial(os.kill, os.getpid(), number))
        side_by_side([*works, lambda: begun.append(1)], 2)
    killer.join()
    assert stop.value.resumable
    assert [work.told for work in works] == [[number], [number]]
    assert not begun


def test_a_second_signal_kills_all() -> None:
    works: list[Long] = [Stubborn(), Stubborn()]

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not all(work.told for work in works):  # two that come before Python looks are one
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with stopping.stoppable(), pytest.raises(KeyboardInterrupt):
        killer = behind(works, twice)
        side_by_side(works, 2)
    killer.join()
    assert all(work.told[:2] == [signal.SIGINT, signal.SIGKILL] for work in works)


def test_one_that_only_waits_to_try_again_is_not_waited_for() -> None:
    work, rests = Long(), Resting()
    with stopping.stoppable(), pytest.raises(Interrupted) as stop:
        killer = behind([work, rests], partial(os.kill, os.getpid(), signal.SIGINT))
        side_by_side([work, rests], 2)
    killer.join()
    assert stop.value.resumable
    assert not rests.over.is_set()
    rests.woken.set()
    assert rests.over.wait(20)
    assert rests.found == [True], "once it wakes up, it knows that the others have ended"


def test_each_has_a_gpu_of_its_own_and_the_next_one_takes_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTENDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{fake_driver(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    held: set[str] = set()

    def work(number: int) -> str:
        with hold_gpu() as environment:
            gpu = environment["CUDA_VISIBLE_DEVICES"]
            assert gpu not in held
            held.add(gpu)
            time.sleep(0.1)
            held.discard(gpu)
            return gpu

    assert set(side_by_side([partial(work, number) for number in range(4)], 3)) == {A, B}
