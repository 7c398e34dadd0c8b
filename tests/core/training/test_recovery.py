"""What follows a death: another attempt, a smaller one, or the end with its reason."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.errors import Interrupted, OutOfMemory, TrainingFailed
from contender.store import LocalStore, MemoryStore
from contender.training import job
from contender.training.attempts import Attempts
from contender.training.checkpoints import Checkpoints
from contender.training.launcher import Died, Recovery
from contender.training.memory import is_out_of_memory, oom_kills, smaller


def test_racing_attempts_have_different_numbers_and_only_the_last_is_the_newest(tmp_path):
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: Attempts(store, "k").take(32), range(24)))
    assert sorted(numbers) == list(range(1, 25))
    attempts = Attempts(store, "k")
    assert [number for number in numbers if attempts.is_newest(number)] == [24]


def test_an_attempt_begins_with_the_micro_batch_of_the_one_before_and_is_forgotten_with_its_job():
    store = MemoryStore()
    attempts, other = Attempts(store, "k"), Attempts(store, "other")
    assert attempts.newest() is None
    attempts.take(32)
    attempts.take(16)
    other.take(8)
    found = attempts.newest()
    assert (found.number, found.micro_batch_size) == (2, 16)
    attempts.forget()
    assert attempts.newest() is None
    assert other.newest().micro_batch_size == 8


@given(st.integers(1, 512), st.integers(1, 512))
def test_a_smaller_micro_batch_divides_the_step_and_is_at_most_half(batch, start):
    sizes = [batch]
    while (less := smaller(batch, sizes[-1])) is not None:
        sizes.append(less)
    assert sizes[-1] == 1 or batch == 1
    assert all(batch % size == 0 for size in sizes)
    assert all(2 * less <= size for size, less in itertools.pairwise(sizes))


def recovery(make_job, folder: Path, most: int = 10, micro_batch_size: int = 8) -> Recovery:
    return Recovery(make_job(batch_size=8), folder, most, micro_batch_size)


def test_memory_that_does_not_hold_one_example_ends_the_job_with_advice(make_job, tmp_path):
    found = recovery(make_job, tmp_path)
    error = OutOfMemory("the training ran out of memory: tried to allocate 3 GiB", "")
    assert [found.from_memory(error) and found.micro_batch_size for _ in range(3)] == [4, 2, 1]
    with pytest.raises(OutOfMemory, match="one example at a time does not fit either") as failure:
        found.from_memory(error)
    assert "max_length" in failure.value.fix


def test_deaths_without_a_checkpoint_in_between_end_the_job_and_others_do_not(make_job, tmp_path):
    found, death = recovery(make_job, tmp_path), Died("it was ended by signal SIGSEGV", "See the log.")
    checkpoints = Checkpoints(tmp_path / "checkpoints", "job")
    for step in (5, 10, 15, 20):
        checkpoints.write(step, lambda folder: (folder / "state").write_text("s"), seconds=0)
        assert f"continuing from step {step}" in found.from_death(death)
    found.from_death(death)
    with pytest.raises(TrainingFailed, match="3 times at the same point, behind step 20"):
        found.from_death(death)


def test_a_run_continues_a_training_only_so_often(make_job, tmp_path):
    death = Died("it was ended by signal SIGKILL", "See the log.")
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        recovery(make_job, tmp_path, most=0).from_death(death)
    found = recovery(make_job, tmp_path, most=1)
    assert "recovery 1 of 1" in found.from_death(death)
    with pytest.raises(TrainingFailed, match="2 times in this run"):
        found.from_death(death)


@pytest.mark.parametrize(
    ("cgroup", "place", "text"),
    [
        ("0::/app", "app/memory.events", "low 0\noom 2\noom_kill 2\noom_group_kill 0\n"),
        ("0::/host/path", "memory.events", "oom_kill 2\n"),
        ("5:cpu:/a\n4:memory:/a/b\n0::/", "memory/a/b/memory.oom_control", "under_oom 0\noom_kill 2\n"),
        ("4:cpu,memory:/gone", "memory/memory.oom_control", "oom_kill 2\n"),
    ],
)
def test_the_kernels_count_is_found_where_it_keeps_it(tmp_path, cgroup, place, text):
    (tmp_path / "cgroup").write_text(cgroup)
    file = tmp_path / "fs" / place
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert oom_kills(tmp_path / "cgroup", tmp_path / "fs") == 2


def test_a_system_that_does_not_count_says_so(tmp_path):
    (tmp_path / "cgroup").write_text("0::/app\nnonsense\n")
    assert oom_kills(tmp_path / "cgroup", tmp_path) is None
    assert oom_kills(tmp_path / "absent", tmp_path) is None


def test_what_libraries_say_of_memory_is_understood():
    torch_cpu = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
    assert is_out_of_memory(torch_cpu)
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_job_that_is_stopped_while_its_base_is_loaded_does_not_blame_the_base(make_job, tmp_path, monkeypatch):
    """Who loads a tokenizer explains whatever goes wrong with it, and a signal arrives in the middle of that."""
    from transformers import AutoTokenizer

    def stopped(*args: object, **more: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", stopped)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.json").write_bytes(make_job().to_bytes())
    monkeypatch.setattr(job, "go_first", lambda: None)
    try:
        assert job.main([str(tmp_path / "job")]) == job.INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("code", [1, -signal.SIGINT, -signal.SIGTERM])
def test_a_child_that_a_signal_meets_while_python_starts_was_interrupted_and_did_not_die(tmp_path, monkeypatch, code):
    from contender import stopping
    from contender.training.launcher import _failure

    (tmp_path / "job.log").write_text("KeyboardInterrupt\n")
    assert isinstance(_failure(code, {}, tmp_path, ran_out=False), Died)
    monkeypatch.setattr(stopping, "asked", lambda: True)
    assert isinstance(_failure(code, {}, tmp_path, ran_out=False), Interrupted)
    told = {"error": {"kind": "TrainingFailed", "what": "the loss became nan", "fix": "Lower it."}}
    assert isinstance(_failure(code, told, tmp_path, ran_out=False), TrainingFailed)


def test_of_what_cuda_says_the_sentence_that_matters_is_told():
    said = (
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 137.20 GiB is free. "
        "Process 5008 has 1.17 GiB memory in use. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF"
    )
    error = job._as_error(RuntimeError(said))
    assert isinstance(error, OutOfMemory)
    assert error.what == "the training ran out of memory: CUDA out of memory. Tried to allocate 20.00 MiB"


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A memory cgroup of our own below this process's."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    path = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
    if path is None:
        pytest.skip("no memory controller of cgroup v1 here")
    group = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / f"contender-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield group
    group.rmdir()


LIMITED = """
import os, sys
from pathlib import Path
from contender.store import LocalStore
from contender.training.launcher import Attempts, Job, run_job
(Path(sys.argv[3]) / "cgroup.procs").write_text(str(os.getpid()))
job, folder = Job.from_bytes(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
report = run_job(job, folder, Attempts(LocalStore(folder.parent), "k"), on_recovery=lambda text: print(text, flush=True))
print(report.micro_batch_size, report.steps, report.recoveries)
"""


@pytest.mark.slow
def test_a_training_that_the_kernel_killed_for_memory_goes_on_with_less_at_once(make_job, tmp_path, memory_group):
    rows = [(" ".join(["red"] * 60), "red"), (" ".join(["blue"] * 60), "blue")] * 2048
    options = {"train": rows, "validation": rows[:8], "labels": ("blue", "red"), "epochs": 1, "early_stopping": 0}
    limited = make_job(batch_size=4096, **options)
    (tmp_path / "job.json").write_bytes(limited.to_bytes())
    (memory_group / "memory.limit_in_bytes").write_text(str(1100 << 20))
    command = [
        sys.executable,
        "-P",
        "-c",
        LIMITED,
        str(tmp_path / "job.json"),
        str(tmp_path / "job"),
        str(memory_group),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    *told, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert told[0] == "out of memory: continuing with 2048 examples at once, 4096 per step as before"
    micro_batch_size, steps, recoveries = map(int, last.split())
    assert micro_batch_size < 4096
    assert (steps, recoveries) == (1, 0)
