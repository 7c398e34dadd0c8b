"""The stack's worker: `python -P -m deployments.worker POOL NAME`. Prefect's process worker, with an end that loses nothing.

Prefect's own takes the first signal to end as a reason to kill what it runs, now and then without an end of its own. This one takes
nothing more, passes SIGTERM on to its flows, which write a checkpoint and say so, waits for them, and ends. A flow whose process was
still importing has nothing to keep and dies by the signal: it is scheduled again, since nobody continues a run that never began.
"""

from __future__ import annotations

import abc
import asyncio
import os
import signal
import sys
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

MOST_RUNS = 1000  # no limit, which is the work queues' affair: a worker with one counts what it runs
HEARTBEAT_SECONDS = 10
PREFETCH_SECONDS = (
    3.0  # as long as a process takes to start: a scheduled run is on time, and holds its place in the queue no longer
)
LOOK_SECONDS = 0.1
TEARDOWN_SECONDS = 3


class StackWorker(ProcessWorker, abc.ABC):  # ABC: Prefect does not register it in place of its own
    """A process worker that can be emptied."""

    ending = False

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        return [] if self.ending else await super().get_and_submit_flow_runs()

    async def run(
        self, flow_run: FlowRun, configuration: ProcessJobConfiguration, task_status: Any = None
    ) -> ProcessWorkerResult:
        result = await super().run(flow_run, configuration, task_status)
        if self.ending and result.status_code == -signal.SIGTERM:
            now = await self.client.read_flow_run(flow_run.id)
            if not now.run_count:
                await self.client.set_flow_run_state(flow_run.id, AwaitingRetry(), force=True)
                return ProcessWorkerResult(status_code=0, identifier=result.identifier)
        return result

    async def emptied(self) -> None:
        """Returns when nothing runs any more: each flow's process was asked to end once."""
        self.ending = True
        asked: set[int] = set()
        while self.limiter.borrowed_tokens:
            for process in psutil.Process().children():
                if process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
            await asyncio.sleep(LOOK_SECONDS)


async def work(pool: str, name: str) -> None:
    """Works until SIGTERM or SIGINT; raises what ended the worker before."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    worker = StackWorker(
        pool,
        name=name,
        limit=MOST_RUNS,
        prefetch_seconds=PREFETCH_SECONDS,
        create_pool_if_not_found=False,
        heartbeat_interval_seconds=HEARTBEAT_SECONDS,
    )
    working = asyncio.create_task(worker.start())
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
        raise RuntimeError("the worker ended by itself")
    if worker.is_setup:
        await worker.emptied()
    working.cancel()
    await asyncio.wait({working}, timeout=TEARDOWN_SECONDS)


async def main(pool: str, name: str) -> NoReturn:
    await work(pool, name)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # all that it ran has ended; a teardown of Prefect's that hangs holds nothing up


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
