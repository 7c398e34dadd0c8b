"""Whoever only reads: nothing that a pull, a verification or a look at the registry does is a write."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contender.records import AliasEntry, Decision, Evaluation, ReleaseDraft
from contender.registry import TRAIN_KEYS, Registry, verify_folder
from contender.registry.layout import sealed
from contender.store import LocalStore, MemoryStore, Store
from contender.store.s3 import S3Store

ROOT = Path(__file__).parents[2]


def filled(store: Store, folder: Path) -> str:
    """A registry with two releases, an evaluation, and an alias that moved once; the release that is live."""
    registry = Registry(store, "desk")
    manifests = []
    for number in (1, 2):
        model = folder / f"model-{number}"
        model.mkdir()
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_bytes(bytes([number]) * 50_000)
        keys = folder / "keys.parquet"
        keys.write_bytes(b"keys")
        draft = ReleaseDraft(kind="text-classification", columns={"text": "body"})
        manifests.append(registry.stage(model, draft, {TRAIN_KEYS: keys}))
        registry.promote("production", number - 1, manifests[-1], reason="better", actor="tests")
    report = folder / "report"
    report.mkdir()
    (report / "README.md").write_text("card")
    release = manifests[-1].release
    about = Evaluation(evaluation="e-1", release=release, champion=None, device="cpu", dtype="fp32", challenger_sets=())
    registry.save_evaluation(about, report)
    return release


def read_everything(registry: Registry, release: str, folder: Path) -> None:
    assert registry.exists()
    entry = registry.champion("production")
    assert entry is not None and (entry.n, entry.release) == (2, release)
    assert len(registry.log("production")) == len(registry.releases()) == 2
    assert registry.aliases() == ["production"]
    assert registry.readable_decisions() == ([], [])
    assert registry.verify(release, "e-1") == registry.fetch(release, folder)
    assert (folder / "README.md").read_text() == "card"
    assert registry.beside(release, TRAIN_KEYS) == b"keys"
    assert verify_folder(folder) == registry.release(release)


def test_reading_sends_nothing_but_reads(s3_server, proxy, tmp_path: Path):
    prefix = f"t-{secrets.token_hex(6)}"
    release = filled(S3Store(s3_server.bucket, prefix), tmp_path)
    proxy.seen.clear()
    for method in ("PUT", "POST", "DELETE"):
        proxy.inject("refuse", method=method, times=1000, status=403, code="AccessDenied")
    read_everything(Registry(S3Store(s3_server.bucket, prefix), "desk"), release, tmp_path / "pulled")
    assert len(proxy.seen) > 20
    assert {method for method, _ in proxy.seen} <= {"GET", "HEAD"}


ORDINARY = """
import os, sys
from pathlib import Path
from contender.registry import Registry
from contender.store import LocalStore
sys.path.insert(0, sys.argv[4])
from test_registry_reading import read_everything
if os.geteuid() == 0:  # root may write anywhere; the imports above are done, since its own folders are closed to others
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store, release, folder = LocalStore(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
try:
    store.put("desk/x", b"1")
    sys.exit("this user can write here")
except Exception as error:
    print(type(error).__name__)
read_everything(Registry(store, "desk"), release, folder / "pulled")
# A folder that is whole is taken as it is, also by whoever may not write beside it.
folder.chmod(0o555)
(folder / "pulled").chmod(0o555)
read_everything(Registry(store, "desk"), release, folder / "pulled")
print("read")
"""


@pytest.fixture
def closed() -> Iterator[Callable[[Path], None]]:
    """Takes everybody's right to write below a folder, and gives it back."""
    taken: list[Path] = []

    def close(folder: Path) -> None:
        for path in [folder, *folder.rglob("*")]:
            taken.append(path)
            path.chmod(0o555 if path.is_dir() else 0o444)

    yield close
    for path in taken:
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    shutil.rmtree(folder)


def test_a_registry_in_a_folder_that_is_read_only_is_read(open_folder: Path, tmp_path: Path, closed):
    release = filled(LocalStore(open_folder / "registry"), tmp_path)
    closed(open_folder / "registry")
    mine = open_folder / "mine"
    mine.mkdir()
    mine.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(mine, 65534, 65534)
    arguments = [str(open_folder / "registry"), release, str(mine), str(Path(__file__).parent)]
    command = [sys.executable, "-c", ORDINARY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.stdout.splitlines() == ["StoreError", "read"], done.stderr


def test_the_newest_records_are_read_for_people_and_what_is_damaged_is_told(tmp_path: Path) -> None:
    store = MemoryStore()
    registry = Registry(store, "desk")
    for n in range(1, 8):
        registry.decide(
            Decision(
                key=f"k{n}", pipeline="desk", outcome="kept", message="m", spec_digest="s", snapshot="s", rows=1,
                judged_against=0, seconds=1.0, actor="a", at=f"2026-11-2{n}T10:00:00.000+00:00",
            )
        )  # fmt: skip
        store.put(f"desk/aliases/production/{n:08}.json", b"{}" if n == 6 else entry(n))
    store.corrupt("desk/decisions/k6.json", 5)
    decisions, faults = registry.recent.decisions(3)
    assert [one.key for one in decisions] == ["k5", "k7"] and len(faults) == 1 and "k6" in faults[0]
    entries, faults = registry.recent.entries("production", 3)
    assert [one.n for one in entries] == [5, 7] and "00000006" in faults[0]
    assert registry.recent.entries("canary", 3) == ([], [])


def entry(n: int) -> bytes:
    return sealed(
        AliasEntry(n=n, release="r-0123456789abcdef", digest="d", reason="r", actor="a", writer="w", at="2026-11-22")
    )
