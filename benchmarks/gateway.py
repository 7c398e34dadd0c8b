"""The webhook gateway under load: `python benchmarks/gateway.py [--rate 200 --seconds 60 --pipelines 50 --hostile 10000]`.

A Prefect server and a gateway of its own, in processes of their own; pipelines of all five schemes. First so many deliveries a second,
each with a body of its own, while something like a worker begins runs that wait: none may be lost (every 202 stands in the journal with
a run that exists), and sampled all the time no pipeline may have two runs that wait. A sender that is asked to come back does. Then
malformed, forged, replayed, oversized and slow requests: no run may start, nothing may crash, and the memory stays flat.

The last line is the summary; the exit code is 1 where a promise does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from deployments.server import client_environment, ensure_server, stop_server

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

SCHEMES = ("basic", "github", "standard", "huggingface", "token")
SENDER_SECONDS = 15.0  # that a sender waits for an answer
TRIES = 6  # of a sender, as senders do
SAMPLE_SECONDS = 0.5
FLAT_BYTES = 16 * 1024 * 1024  # that the gateway may grow by under hostile requests, once it is warm
LATE = 5.0  # seconds that a client waits before it gives up on hostile answers


@dataclass
class Seen:
    """What the senders and the sampler saw."""

    accepted: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    first: Counter[int] = field(default_factory=Counter)
    given_up: int = 0
    behind: float = 0.0
    samples: int = 0
    most_waiting: int = 0
    begun: int = 0


@dataclass
class Bench:
    """Where the gateway listens, what is deployed, and how deliveries to it look."""

    port: int
    names: list[str]
    ids: list[UUID]
    client: PrefectClient
    process: subprocess.Popen[bytes]
    folder: Path

    def delivery(self, index: int, body: bytes) -> tuple[str, dict[str, str]]:
        from gateways import request_of

        name = self.names[index % len(self.names)]
        return request_of(name.partition("-")[0], name, body)

    async def runs(self) -> list[Any]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=self.ids))
        return await pages(self.client, wanted)


async def pages(client: PrefectClient, wanted: Any) -> list[Any]:
    """All runs of a filter; asked again where Prefect has too much to do."""
    found: list[Any] = []
    while True:
        page = await client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=len(found))
        found += page
        if len(page) < 200:
            return found


async def answered(bench: Bench, said: bytes) -> tuple[int, Any]:
    """Status and document that come back for a request, on a connection of its own, as most senders do; 0 where none comes."""
    writer = None
    try:
        async with asyncio.timeout(SENDER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(said)
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split()[1]), json.loads(body)
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0, None
    finally:
        if writer is not None:
            writer.close()


async def deliver(bench: Bench, number: int, seen: Seen) -> None:
    """One sender: it comes back where it is asked to."""
    body = json.dumps({"number": number}).encode()
    began = time.perf_counter()
    for attempt in range(TRIES):
        path, headers = bench.delivery(number, body)
        status, document = await answered(bench, request(path, headers, body))
        if not attempt:
            seen.first[status] += 1
        if status == 202:
            seen.seconds.append(time.perf_counter() - began)
            seen.accepted.append(document)
            return
        await asyncio.sleep(1 + attempt)
    seen.given_up += 1


async def load(bench: Bench, rate: float, seconds: float, begin: float) -> Seen:
    """Deliveries at an even pace, while a worker begins runs and a sampler counts those that wait."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    seen = Seen()
    stop = asyncio.Event()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):  # what fails is looked at again; nobody waits a minute
        beside = [
            asyncio.create_task(begin_runs(bench, seen, begin, stop)),
            asyncio.create_task(sample(bench, seen, stop)),
        ]
    began = time.perf_counter()
    senders = []
    for number in range(int(rate * seconds)):
        late = time.perf_counter() - began - number / rate
        seen.behind = max(seen.behind, late)
        if late < 0:
            await asyncio.sleep(-late)
        senders.append(asyncio.create_task(deliver(bench, number, seen)))
    await asyncio.gather(*senders)
    stop.set()
    await asyncio.gather(*beside)
    return seen


async def waiting(bench: Bench) -> list[Any]:
    from tasks.waiting import not_begun

    return await pages(bench.client, not_begun(bench.ids))


async def sample(bench: Bench, seen: Seen, stop: asyncio.Event) -> None:
    """The most runs of one pipeline that waited at a time."""
    while not stop.is_set():
        with contextlib.suppress(httpx.HTTPError):
            counts = Counter(run.deployment_id for run in await waiting(bench))
            seen.samples += 1
            seen.most_waiting = max([seen.most_waiting, *counts.values()])
        await asyncio.sleep(SAMPLE_SECONDS)


async def begin_runs(bench: Bench, seen: Seen, per_second: float, stop: asyncio.Event) -> None:
    """Begins runs that wait, as a worker would, so that the next deliveries need new ones."""
    from prefect.states import Completed, Running

    while not stop.is_set():
        with contextlib.suppress(httpx.HTTPError):
            found = await waiting(bench)
            for run in random.sample(found, min(len(found), max(1, round(per_second)))):
                await bench.client.set_flow_run_state(run.id, Running(), force=True)
                await bench.client.set_flow_run_state(run.id, Completed(), force=True)
                seen.begun += 1
        await asyncio.sleep(1)


def journalled(folder: Path) -> dict[str, str | None]:
    """Delivery → its run, of all that the journal says were accepted."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as opened:
        return dict(opened.execute("SELECT id, flow_run_id FROM deliveries WHERE result = 'accepted'").fetchall())


async def check_load(bench: Bench, seen: Seen) -> list[str]:
    """What does not hold."""
    known = {str(run.id) for run in await bench.runs()}
    journal = journalled(bench.folder)
    lost = [one for one in seen.accepted if journal.get(one["delivery"]) != one["flow_run_id"]]
    without = {one["flow_run_id"] for one in seen.accepted} - known
    faults = [f"{len(lost)} answered with 202 are not in the journal"] if lost else []
    faults += [f"{len(without)} runs that a 202 names do not exist"] if without else []
    faults += [f"{seen.given_up} senders were never answered with 202"] if seen.given_up else []
    faults += [f"{seen.most_waiting} runs of one pipeline waited at a time"] if seen.most_waiting > 1 else []
    return faults


async def raw(bench: Bench, said: bytes, pause: float = 0.0) -> int:
    """The status of what comes back for these bytes; 0 where the connection is closed without one."""
    writer = None
    try:
        async with asyncio.timeout(LATE + pause * len(said)):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            if pause:
                for start in range(0, len(said), 8):
                    writer.write(said[start : start + 8])
                    await writer.drain()
                    await asyncio.sleep(pause)
            else:
                writer.write(said)
                await writer.drain()
            line = await reader.readline()
            return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0
    finally:
        if writer is not None:
            writer.close()


def request(path: str, headers: dict[str, str], body: bytes = b"", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "content-length" not in headers and "transfer-encoding" not in headers:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def malformed(bench: Bench, dice: random.Random) -> bytes:
    noise = dice.randbytes(dice.randint(1, 400))
    path, headers = bench.delivery(dice.randrange(100), b"{}")
    whole = request(path, headers, b"{}")
    return dice.choice(
        [
            noise,
            b"POST " + noise + b" HTTP/1.1\r\n\r\n",
            whole.replace(b"host:", b"host: evil.example.org\r\nhost:"),
            whole.replace(b"127.0.0.1", b"evil.example.org"),
            whole[: dice.randrange(10, 60)] + b"\r\n\r\n",
            request(path, headers | {"content-length": "2", "transfer-encoding": "chunked"}, b"{}"),
            request("/hooks/basic-0", {"x": "y" * 20_000}),
            request(path, headers | {"content-encoding": "gzip"}, b"{}"),
            request(f"/hooks/{noise.hex()}", headers, b"{}"),
            request(path, headers, b"{}", method=dice.choice(["GET", "PUT", "DELETE", "TRACE", "BREW"])),
            request("/hooks/basic-mapped", bench.delivery(0, b"")[1], b'{"epochs": "x' + noise.hex().encode() + b'"}'),
            request("/hooks/basic-mapped", bench.delivery(0, b"")[1], b'{"epochs": -1}'),
            request("/hooks/basic-mapped", bench.delivery(0, b"")[1], b"[" * 50_000),
        ]
    )


def forged(bench: Bench, dice: random.Random) -> bytes:
    body = json.dumps({"forged": dice.random()}).encode()
    path, headers = bench.delivery(dice.randrange(1000), body)
    if path.count("/") == 3:
        return request(path[: -dice.randint(1, 5)], headers, body)
    changed = {
        name: value[:-6] + "AAAAA=" if name in ("authorization", "webhook-signature") else f"{value[:-1]}!"
        for name, value in headers.items()
        if dice.random() < 0.9
    }
    return request(path, {} if changed == headers else changed, body)


def oversized(bench: Bench, dice: random.Random) -> bytes:
    path, headers = bench.delivery(dice.randrange(1000), b"")
    if dice.random() < 0.5:
        return request(path, headers | {"content-length": str(dice.randrange(10**7, 10**12))}, b"x" * 1000)
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(10))
    return request(path, headers | {"transfer-encoding": "chunked"}, chunks)


async def hostile(bench: Bench, count: int, taken: list[bytes], seed: int) -> dict[str, Counter[int]]:
    """So many hostile requests, 50 at once, a twentieth of them slow; statuses by kind."""
    dice = random.Random(seed)
    found: dict[str, Counter[int]] = {}
    turns = asyncio.Semaphore(50)
    kinds: list[tuple[str, Callable[[], bytes], float]] = [
        ("malformed", lambda: malformed(bench, dice), 0.0),
        ("forged", lambda: forged(bench, dice), 0.0),
        ("replayed", lambda: dice.choice(taken), 0.0),
        ("oversized", lambda: oversized(bench, dice), 0.0),
        ("slow", lambda: forged(bench, dice)[:200], 0.05),
    ]

    async def one(kind: str, said: bytes, pause: float) -> None:
        status = await raw(bench, said, pause)
        found.setdefault(kind, Counter())[status] += 1
        if not pause:
            turns.release()

    under_way = set()
    for _ in range(count):
        kind, made, pause = dice.choices(kinds, [30, 30, 20, 15, 5])[0]
        if not pause:
            await turns.acquire()
        task = asyncio.create_task(one(kind, made(), pause))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return found


async def attack(bench: Bench, count: int) -> tuple[dict[str, Any], list[str]]:
    """Hostile requests, and what does not hold after them."""
    taken = await taken_deliveries(bench)
    process = psutil.Process(bench.process.pid)
    before = {str(run.id) for run in await bench.runs()}
    await hostile(bench, max(200, count // 10), taken, seed=1)  # until caches and pools have their size
    warm = process.memory_info().rss
    began = time.perf_counter()
    found = await hostile(bench, count, taken, seed=2)
    seconds = time.perf_counter() - began
    grown = process.memory_info().rss - warm
    new = {str(run.id) for run in await bench.runs()} - before
    crashed = bench.process.poll() is not None
    traces = (bench.folder / "gateway.log").read_text().count("Traceback")
    accepted = sum(counts[202] for counts in found.values())
    faults = [f"{len(new)} runs started"] if new else []
    faults += [f"{accepted} were answered with 202"] if accepted else []
    faults += ["the gateway died"] if crashed else []
    faults += [f"{traces} tracebacks"] if traces else []
    faults += (
        [f"{sum(counts[500] for counts in found.values())} answers of 500"]
        if any(c[500] for c in found.values())
        else []
    )
    faults += [f"memory grew by {grown / 2**20:.1f} MiB"] if grown > FLAT_BYTES else []
    status, _ = await answered(bench, request(*bench.delivery(0, b'{"after": 1}'), b'{"after": 1}'))
    faults += [f"a good delivery after it got {status}"] if status != 202 else []
    statuses = {
        kind: {str(status or "closed"): n for status, n in sorted(counts.items())} for kind, counts in found.items()
    }
    for kind, counts in sorted(statuses.items()):
        print(f"  {kind:10} {counts}")
    memory = {"rss_before_mib": round(warm / 2**20, 1), "rss_after_mib": round((warm + grown) / 2**20, 1)}
    return {"requests": count, "seconds": round(seconds, 1), "unauthorised_runs": len(new), **memory}, faults


async def taken_deliveries(bench: Bench) -> list[bytes]:
    """Requests that were taken, whose runs have begun: what an eavesdropper would send again."""
    from prefect.states import Running

    taken = []
    for number in range(min(20, len(bench.names))):
        body = json.dumps({"taken": number}).encode()
        said = request(*bench.delivery(number, body), body)
        status, document = await answered(bench, said)
        if status != 202:
            raise SystemExit(f"a good delivery got {status}: {document}")
        taken.append(said)
    for run in await waiting(bench):
        await bench.client.set_flow_run_state(run.id, Running(), force=True)
    return taken


async def prepare(folder: Path, count: int) -> tuple[list[str], list[UUID]]:
    """Deploys the pipelines."""
    from gateways import a_pipeline
    from prefect.client.orchestration import get_client

    names = [f"{SCHEMES[number % len(SCHEMES)]}-{number}" for number in range(count)]
    given: dict[str, Any] = {"per_minute": 6000}
    pipelines = [a_pipeline(folder, name, name.partition("-")[0], **given) for name in names]
    pipelines.append(a_pipeline(folder, "basic-mapped", "basic", map={"train.epochs": "epochs"}, **given))
    ids = []
    async with get_client() as client:
        flow = await client.create_flow_from_name("retrain")
        for one in pipelines:
            parameters = {"spec": one.model_dump(mode="json")}
            made = client.create_deployment(flow, one.spec.name, parameters=parameters, tags=["contender"])
            ids.append(await made)
    return names, ids


async def measured(given: argparse.Namespace, folder: Path) -> int:
    from gateways import gateway_process
    from prefect.client.orchestration import get_client

    names, ids = await prepare(folder, given.pipelines)
    with gateway_process(folder / "journal.db", given.port, folder / "gateway.log") as process:
        async with get_client() as client:
            bench = Bench(given.port, names, ids, client, process, folder)
            report: dict[str, Any] = {}
            faults: list[str] = []
            if given.seconds:
                report["load"], found = await loaded(bench, given)
                faults += found
            if given.hostile:
                report["hostile"], found = await attack(bench, given.hostile)
                faults += found
    for fault in faults:
        print(f"VIOLATED: {fault}")
    print(json.dumps({"gateway": "violated" if faults else "held", **report, "violations": faults}))
    return 1 if faults else 0


async def loaded(bench: Bench, given: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    seen = await load(bench, given.rate, given.seconds, given.begin)
    faults = await check_load(bench, seen)
    cuts = statistics.quantiles(seen.seconds or [0.0, 0.0], n=100)
    report = {
        "deliveries": int(given.rate * given.seconds),
        "per_second": given.rate,
        "pipelines": given.pipelines,
        "accepted": len(seen.accepted),
        "joined": sum(one["joined"] for one in seen.accepted),
        "runs": len({one["flow_run_id"] for one in seen.accepted}),
        "first_answers": {str(status): n for status, n in sorted(seen.first.items())},
        "p50_ms": round(cuts[49] * 1000),
        "p95_ms": round(cuts[94] * 1000),
        "p99_ms": round(cuts[98] * 1000),
        "max_ms": round(max(seen.seconds, default=0) * 1000),
        "most_waiting_per_pipeline": seen.most_waiting,
        "samples": seen.samples,
        "begun": seen.begun,
        "sender_behind_s": round(seen.behind, 2),
    }
    for name, value in report.items():
        print(f"  {name:26} {value}")
    return report, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200, help="deliveries a second")
    parser.add_argument("--seconds", type=float, default=60, help="of load; 0: none")
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--begin", type=float, default=2, help="runs that begin each second")
    parser.add_argument("--hostile", type=int, default=10_000, help="hostile requests; 0: none")
    parser.add_argument("--port", type=int, default=8377)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contender-gateway-") as name:
        folder = Path(name)
        for known in [known for known in os.environ if known.startswith("PREFECT_")]:
            del os.environ[known]
        info = ensure_server(folder / "home")
        os.environ.update(client_environment(info))
        try:
            return asyncio.run(measured(given, folder))
        finally:
            stop_server(folder / "home")


if __name__ == "__main__":
    sys.exit(main())
