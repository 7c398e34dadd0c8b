"""Real Prefect workers of a pool, in processes of their own, and what they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], seconds: float, told: Callable[[], str] = str) -> T:
    """What `look` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s\n{told()}")


def lives(process: psutil.Process) -> bool:
    """Whether it still does anything; whoever should have waited for it may be dead himself."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def that_run(module: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of the processes that run a module."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if module in process.cmdline():
                found.append(process)
    return found


@dataclass
class Worker:
    """One `prefect worker start`, in a folder of its own."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    seen: set[psutil.Process] = field(default_factory=set)

    @classmethod
    def start(cls, name: str, pool: str, folder: Path, **environment: str) -> Worker:
        folder.mkdir()
        command = [str(Path(sys.executable).parent / "prefect"), "worker", "start", "--pool", pool, "--name", name]
        given = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "1", "OMP_NUM_THREADS": "1"} | environment
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=given, stdout=log, stderr=log, start_new_session=True)
        return cls(name, folder, process)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def below(self) -> list[psutil.Process]:
        """Every process that it started, and those that these started; also after their parent died."""
        with suppress(psutil.NoSuchProcess):
            self.seen.update(psutil.Process(self.process.pid).children(recursive=True))
        return [process for process in self.seen if lives(process)]

    def running(self, module: str) -> list[psutil.Process]:
        """Those of its processes that run a module."""
        return that_run(module, self.below())

    def engines(self, run: UUID) -> list[psutil.Process]:
        """Those of its processes that play one flow run: a pool plays others beside it, the watcher's among them."""
        found = []
        for process in self.running("prefect.engine"):
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run):
                    found.append(process)
        return found

    def stop(self, grace: float = 60) -> None:
        """As a supervisor does: asked to end, and killed where it is still there after the grace time, as now and then it is."""
        self.process.terminate()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_with_all_that_it_started(self) -> None:
        """As its machine would: at once, and nobody hears of it."""
        every = self.below()
        self.process.send_signal(signal.SIGSTOP)  # or it would report what it sees
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.kill()

    def end(self) -> None:
        if self.process.poll() is None:
            self.below()
            self.process.kill()
            self.process.wait()
        for process in self.below():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def flow_run(run_id: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def history(run_id: UUID) -> list[str]:
    """The names of the states that a run went through; one AwaitingRetry after another is told once, see deployments/automations.py."""
    with get_client(sync_client=True) as client:
        names = [str(state.name) for state in client.read_flow_run_states(run_id)]
    return [name for before, name in pairwise(["", *names]) if not before == name == "AwaitingRetry"]


def why_it_crashed(run_id: UUID) -> list[str]:
    """The messages of a run's Crashed states."""
    with get_client(sync_client=True) as client:
        return [str(state.message) for state in client.read_flow_run_states(run_id) if state.name == "Crashed"]


def task_states(run_id: UUID) -> dict[str, list[str]]:
    """Task → its states' names, one for each attempt at the run."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
    names: dict[str, list[str]] = {}
    for task in sorted(found, key=lambda task: task.expected_start_time or task.created):
        names.setdefault(task.name.rpartition("-")[0], []).append(str(task.state_name))
    return names
