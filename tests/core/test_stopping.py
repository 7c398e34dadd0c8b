"""A signal is noted at once and acted on where nothing is half done; a second one is not waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from contender import stopping
from contender.errors import Interrupted
from contender.progress import Note, tell


def ask(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "named"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_waits_for_the_next_note(number: signal.Signals, named: str) -> None:
    before = signal.getsignal(number)
    with stopping.stoppable():
        tell(Note("gate", "started"))
        ask(number)
        assert stopping.asked()
        with pytest.raises(Interrupted, match=named) as stop:
            tell(Note("gate", "finished"))
    assert stop.value.exit_code == 130
    assert signal.getsignal(number) is before
    assert not stopping.asked(), "the next run begins unasked"


def test_a_training_tells_of_its_steps_until_it_has_its_checkpoint() -> None:
    with stopping.stoppable():
        ask()
        tell(Note("train", "moved"))
        with pytest.raises(Interrupted):
            tell(Note("train", "finished"))


def test_a_second_signal_is_not_waited_for() -> None:
    with stopping.stoppable(), pytest.raises(KeyboardInterrupt):
        ask(signal.SIGTERM)
        ask()


def test_whoever_can_stop_work_is_told_once_also_of_a_signal_that_came_before() -> None:
    told: list[int] = []
    with stopping.stoppable():
        ask()
        with stopping.stoppable(first=told.append):
            assert told == [signal.SIGINT]
        with pytest.raises(Interrupted):
            stopping.check()


def test_the_inner_one_takes_the_signals_back_from_a_library() -> None:
    with stopping.stoppable():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with stopping.stoppable():
            ask(signal.SIGTERM)
            assert stopping.asked()


def test_in_another_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with stopping.stoppable():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


CHILD = """
import os, sys, time
from contender import stopping
from contender.errors import Interrupted
told = open(sys.argv[1], "w")
with stopping.stoppable(), stopping.stopped_with_parent():
    print("watching", flush=True)
    try:
        while True:
            time.sleep(0.05)
            stopping.check()
    except Interrupted as stopped:
        print("nobody reads this", flush=True)
        told.write(stopped.what)
"""


def test_a_process_whose_parent_died_is_stopped_as_by_sigterm(tmp_path: Path) -> None:
    middle = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-P', '-c', {CHILD!r}, {str(tmp_path / 'told')!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", middle], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "watching\n"
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.stdout.close()
    parent.wait()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "told").read_text() == "stopped by SIGTERM"
