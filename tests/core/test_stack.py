"""The parts of a local stack: started again where they die, ended together, and never left behind. One stack per home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from contender.errors import UsageError
from deployments import stack as stacks
from deployments.home import ServerFailed
from deployments.lock import StackFiles
from deployments.stack import WAITS, Part, Stack
from deployments.up_command import free_port

STAYS = "import time\nfor _ in range(600): time.sleep(0.1)"
DIES = "raise SystemExit(7)"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n{STAYS}"
HAS_A_CHILD = (
    "import subprocess, sys\n"
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n" + STAYS
)


def until(look: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Callable[[str], Part]]:
    made: list[Part] = []
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)

    def make(code: str) -> Part:
        (tmp_path / "stand_in.py").write_text(code)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        made.append(Part("stand-in", "stand_in", tmp_path / "part.log", environment, lock))
        return made[-1]

    yield make
    for one in made:
        one.close()
    os.close(lock)


def test_a_part_that_dies_is_started_again_with_growing_waits(
    part: Callable[[str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "WAITS", (0.0, 0.01, 0.02))
    one = part(DIES)
    one.start()
    told: list[str] = []

    def look() -> bool:
        told.extend(filter(None, [one.look()]))
        return one.restarts >= 2

    until(look)
    assert [line.partition(". Its log")[0] for line in told if "ended" in line][:2] == [
        "the stand-in ended with code 7; again in 0 s",
        "the stand-in ended with code 7; again in 0 s",
    ]
    assert one.deaths >= 2
    assert list(WAITS) == sorted(WAITS) and WAITS[-1] == 60


def test_what_a_dead_part_leaves_ends_before_the_next_one_starts(
    part: Callable[[str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "WAITS", (0.0,))
    monkeypatch.setattr(stacks, "LEFT_SECONDS", 0.3)
    one = part(HAS_A_CHILD)
    one.start()
    until(lambda: one.log.read_text().strip())
    child = int(one.log.read_text())
    alive_at_start: list[bool] = []
    one.before = lambda: alive_at_start.append(alive(child))
    assert one.process
    one.process.kill()

    def look() -> bool:
        one.look()
        return one.restarts == 1

    until(look)
    assert alive_at_start == [False]


def test_a_part_that_cannot_be_prepared_is_tried_again_and_told(
    part: Callable[[str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "WAITS", (0.0,))
    one = part(STAYS)
    faults = [ConnectionError("no answer")]

    def before() -> None:
        if faults:
            raise faults.pop()

    one.before = before
    assert "cannot be started: no answer" in str(one.look())
    assert "was started again" in str(one.look())


def test_a_part_that_does_not_end_is_killed_with_all_that_it_started(part: Callable[[str], Part]) -> None:
    one, told = part(STUBBORN), list[str]()
    stack = Stack([one], told.append)
    stack.start()
    until(lambda: "deaf" in one.log.read_text())
    pid = one.pid
    assert pid
    assert stack.end(lambda: None, grace=0.3) is False
    assert told == ["killed after 0 s: stand-in"]
    stack.close()
    assert not alive(pid)


def test_a_part_ends_with_the_process_that_started_it(part: Callable[[str], Part], tmp_path: Path) -> None:
    """Even where that is killed, and takes along what it started itself."""
    one = part(HAS_A_CHILD)
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom deployments.stack import Part\n"
        f"lock = os.open({str(tmp_path / 'lock')!r}, os.O_RDWR)\n"
        f"one = Part('stand-in', 'stand_in', Path({str(one.log)!r}), dict(os.environ), lock)\n"
        "one.start()\nprint(one.pid, flush=True)\ntime.sleep(60)\n"
    )
    stack = subprocess.Popen([sys.executable, "-c", script], env=dict(one.environment), stdout=subprocess.PIPE)
    try:
        assert stack.stdout
        pid = int(stack.stdout.readline())
        until(lambda: one.log.read_text().strip())
        child = int(one.log.read_text())
    finally:
        stack.kill()
        stack.communicate()
    until(lambda: not alive(pid), 5)
    psutil.Process(child).kill()


def test_logs_are_their_owners_alone_and_do_not_grow_for_ever(
    part: Callable[[str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "LOG_BYTES", 3)
    one = part("print('more than three')")
    for _ in range(2):
        one.start()
        until(one.ended)
        one.close()
    assert one.log.stat().st_mode & 0o777 == 0o600
    assert one.log.with_name("part.log.1").read_text() == one.log.read_text() == "more than three\n"


def test_a_second_stack_of_a_home_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    files = StackFiles.of(tmp_path)
    assert files.running() is None
    with files.held(["a", "b"]):
        assert files.running() == (os.getpid(), ["a", "b"])
        with pytest.raises(UsageError, match=rf"\(process {os.getpid()}: a, b\)"), StackFiles.of(tmp_path).held(["c"]):
            pass
        assert files.up_lock.stat().st_mode & 0o777 == 0o600
        assert files.folder.stat().st_mode & 0o777 == 0o700
    assert files.running() is None
    with files.held(["c"]):
        assert files.running() == (os.getpid(), ["c"])


def test_a_pid_in_the_file_without_its_lock_is_nobody(tmp_path: Path) -> None:
    files = StackFiles.of(tmp_path)
    files.folder.mkdir()
    files.up_lock.write_text(f'{{"pid": {os.getpid()}, "pipelines": []}}')
    assert files.running() is None
    assert files.stop(force=True) is None  # and this process, which has the pid, goes on


def test_parts_of_an_earlier_stack_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.lock.GONE_SECONDS", 0.2)
    files = StackFiles.of(tmp_path)
    with files.held(["a"]) as lock:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        left = subprocess.Popen(command, pass_fds=[lock], stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(ServerFailed, match="do not end"), files.held(["a"]):
            pass
        assert files.running() is None
    finally:
        left.send_signal(signal.SIGKILL)
        left.wait()
    with files.held(["a"]):
        pass


def test_the_gateway_keeps_its_port_where_that_is_free_and_takes_another_where_not(tmp_path: Path) -> None:
    files = StackFiles.of(tmp_path)
    files.folder.mkdir()
    first = free_port(files)
    files.port.write_text(str(first))
    assert free_port(files) == first
    with socket.create_server(("127.0.0.1", first)):
        assert free_port(files) not in (first, 0)
    for text in ("", "many", "0", "70000"):
        files.port.write_text(text)
        assert 0 < free_port(files) < 65536
