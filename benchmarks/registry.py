"""The registry on a store: a gigabyte up and down beside `aws s3 cp`, a rollback, and an alias with 10,000 entries.

    python -m venv .venv-aws && .venv-aws/bin/pip install awscli
    DIR=/tmp/rgw PORT=7480 STORE=bluestore tests/servers/ceph_rgw.sh start
    export AWS_ENDPOINT_URL=http://127.0.0.1:7480 AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret
    .venv-aws/bin/aws s3 mb s3://bench
    python benchmarks/registry.py s3://bench/some/prefix --aws .venv-aws/bin/aws      # --rounds 5 --megabytes 1000 --entries 10000

A folder in place of the URL measures the local store, without `aws`. Every transfer is a process of its own, its start included;
the two take turns, and which goes first changes each round. Ours describes, sends, confirms and records; down, it checks every file
and makes it durable. What `aws` writes is not flushed to the disk. Everything under the prefix is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from contender.records import AliasEntry, FileEntry, ReleaseDraft, ReleaseManifest
from contender.registry import Registry
from contender.registry.layout import files_digest, now, release_id, sealed
from contender.store import Store, open_store
from contender.store.transfer import at_once

SHARES = {
    "model.safetensors": 0.8,
    "head.safetensors": 0.15,
    "tokenizer.json": 0.04,
    "vocab.txt": 0.009,
    "config.json": 1e-6,
}
DRAFT = ReleaseDraft(kind="text-classification", columns={"text": "text"})
READS = 50


def model(folder: Path, megabytes: int) -> int:
    """A model of random bytes in five files; its size in bytes."""
    folder.mkdir()
    total = 0
    for name, share in SHARES.items():
        left = max(100, int(megabytes * 1_000_000 * share))
        total += left
        with (folder / name).open("wb") as stream:
            while left:
                left -= stream.write(os.urandom(min(left, 1 << 24)))
    return total


def seconds(command: list[str | Path]) -> float:
    os.sync()  # what the one before it left to be written is not its work
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{command[:4]} failed: {done.stderr[-800:]}")
    return time.perf_counter() - started


def itself(direction: str, url: str, pipeline: str, folder: Path) -> float:
    return seconds([sys.executable, "-P", __file__, url, f"--{direction}", pipeline, "--folder", folder])


def transfers(
    url: str, aws: Path | None, rounds: int, source: Path, work: Path
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each round, ours and those of `aws`, up and down."""
    found: dict[str, list[tuple[float, float]]] = {"up": [], "down": []}
    for number in range(rounds):
        ours, theirs = work / f"ours-{number}", work / f"aws-{number}"
        prefix = f"{url}/aws-{number}"
        turns: dict[str, list[Callable[[], float]]] = {
            "up": [
                lambda n=number: itself("up", url, f"bench-{n}", source),  # type: ignore[misc]
                lambda p=prefix: seconds([aws, "s3", "cp", "--recursive", "--quiet", source, p]) if aws else 0.0,  # type: ignore[misc]
            ],
            "down": [
                lambda n=number, to=ours: itself("down", url, f"bench-{n}", to),  # type: ignore[misc]
                lambda p=prefix, to=theirs: (
                    seconds([aws, "s3", "cp", "--recursive", "--quiet", p, to]) if aws else 0.0  # type: ignore[misc]
                ),
            ],
        }
        for direction, (mine, other) in turns.items():
            if number % 2:
                second, first = other(), mine()
            else:
                first, second = mine(), other()
            found[direction].append((first, second))
            print(f"round {number + 1} {direction}: {first:.2f} s, aws {second:.2f} s", file=sys.stderr)
        for folder in (ours, theirs):
            shutil.rmtree(folder, ignore_errors=True)
        if number + 1 < rounds:
            empty(open_store(f"{url}/bench-{number}"))
        empty(open_store(prefix))
    return found


def told(found: dict[str, list[tuple[float, float]]], size: int, against: bool) -> Table:
    table = Table("transfer", "Contender s", "MB/s", "aws s3 cp s", "MB/s", "throughput, Contender to aws")
    for direction, rounds in found.items():
        ours, theirs = [one for one, _ in rounds], [other for _, other in rounds]
        cells = [f"{statistics.median(ours):.2f}", f"{size / 1e6 / statistics.median(ours):.0f}"]
        if against:
            ratios = sorted(other / one for one, other in rounds)
            cells += [f"{statistics.median(theirs):.2f}", f"{size / 1e6 / statistics.median(theirs):.0f}"]
            cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        table.add_row(direction, *cells)
    return table


def rollback(store: Store, pipeline: str) -> float:
    """Seconds of a rollback: every byte of the release before is checked, and an entry makes it live again."""
    registry = Registry(store, pipeline)
    (first,) = registry.releases()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text("{}")
        other = registry.stage(Path(folder), DRAFT)
    for n, manifest in enumerate((first, other)):
        registry.promote("production", n, manifest, reason="benchmark", actor="benchmark")
    started = time.perf_counter()
    registry.rollback("production", reason="benchmark", actor="benchmark")
    return time.perf_counter() - started


def alias(store: Store, entries: int) -> tuple[list[float], float, float]:
    """Seconds of reading the live entry, of a promotion, and of reading the whole log, with so many entries."""
    files = (FileEntry(path="model.safetensors", size=1, sha256="0"),)
    digest = files_digest(files)
    release = release_id(digest)
    shared = {"release": release, "digest": digest, "evaluation": None, "reason": "benchmark", "actor": "benchmark"}

    def entry(n: int) -> AliasEntry:
        previous = release if n > 1 else None
        return AliasEntry(n=n, previous=previous, writer=secrets.token_hex(16), verdict=None, at=now(), **shared)

    folder = "long/aliases/production"
    at_once(lambda n: store.put(f"{folder}/{n:08d}.json", sealed(entry(n))), range(1, entries + 1), threads=16)
    store.put(f"{folder}.json", sealed(entry(entries)))
    registry, reads = Registry(store, "long"), []
    for _ in range(READS):
        started = time.perf_counter()
        live = registry.champion("production")
        reads.append(time.perf_counter() - started)
        assert live and live.n == entries
    started = time.perf_counter()
    assert len(registry.log("production")) == entries
    whole = time.perf_counter() - started
    manifest = ReleaseManifest(**DRAFT.model_dump(), release=release, digest=digest, files=files, created=now())
    store.put(f"long/releases/{release}/manifest.json", sealed(manifest))
    started = time.perf_counter()
    registry.promote("production", entries, manifest, reason="benchmark", actor="benchmark")
    return reads, time.perf_counter() - started, whole


def empty(store: Store) -> None:
    at_once(lambda info: store.delete(info.key), store.list(), threads=16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--aws", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=10_000)
    for hidden in ("--up", "--down"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.up:
        Registry(open_store(given.url), given.up).stage(given.folder, DRAFT)
        return
    if given.down:
        registry = Registry(open_store(given.url), given.down)
        registry.fetch(registry.releases()[0].release, given.folder)
        return
    url, console = given.url.rstrip("/") + f"/{secrets.token_hex(4)}", Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        size = model(Path(folder, "model"), given.megabytes)
        if given.rounds:
            found = transfers(url, given.aws, given.rounds, Path(folder, "model"), Path(folder))
            console.print(told(found, size, given.aws is not None))
            console.print(f"rollback: {rollback(open_store(url), f'bench-{given.rounds - 1}'):.2f} s")
    if given.entries:
        reads, promotion, log = alias(open_store(url), given.entries)
        console.print(
            f"alias with {given.entries:,} entries: live entry {1000 * statistics.median(reads):.1f} ms "
            f"({1000 * min(reads):.1f} to {1000 * max(reads):.1f}), promotion {1000 * promotion:.0f} ms, whole log {log:.1f} s"
        )
    empty(open_store(url))


if __name__ == "__main__":
    main()
