"""Real stores on loopback for every test that wants one; each server is ended, by its process id, by the session that started it."""

from __future__ import annotations

import atexit
import gc
import os
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from ports import free_port, free_port_range, wait_for_port
from tiny import build_tiny_base

from contender.store import LocalStore, MemoryStore, Store
from deployments.server import ServerInfo, client_environment, ensure_server, stop_server

# What this user's runs have measured decides nothing here, and what tests measure is not left to them.
os.environ["CONTENDER_CACHE"] = tempfile.mkdtemp(prefix="contender-cache-")
atexit.register(shutil.rmtree, os.environ["CONTENDER_CACHE"], ignore_errors=True)

ROOT = Path(__file__).parents[1]
# A file is one worker's. What takes minutes, of the slow tests or of the fast ones, begins first, so that all workers end together.
LONGEST = (
    "faults/test_faults.py",
    "e2e/test_search.py",
    "e2e/test_s3.py",
    "e2e/test_demo.py",
    "core/training/test_training_job.py",
    "core/test_registry_interleavings.py",
    "e2e/test_banking77.py",
    "e2e/test_selection.py",
    "e2e/test_docs.py",
    "e2e/test_shared_workspace.py",
    "e2e/test_search_parallel.py",
    "core/training/test_training_finetune.py",
    "core/test_quality_gate.py",
    "core/test_quality_sqlite.py",
    "core/training/test_trial.py",
    "core/test_quality_process.py",
    "core/test_quality_faults.py",
    "core/test_latency.py",
    "core/training/test_regularising.py",
)
CEPH_SCRIPT = ROOT / "tests" / "servers" / "ceph_rgw.sh"
AnyServer = TypeVar("AnyServer", bound="S3Server")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting garbage among what is imported for all tests finds nothing, and takes half of the time; nor is it looked at later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in the order of pyproject.toml."""
    first = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(LONGEST)))


@dataclass(frozen=True)
class S3Server:
    """An S3 server on loopback with one bucket."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = "contender-tests"
    tls_endpoint: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class CephServer(S3Server):
    """One whose daemons (rgw: the gateway, osd: the disk, mon) can be killed and started again."""

    environment: dict[str, str] = field(default_factory=dict)

    def kill(self, daemon: str) -> None:
        """With -9, at once; returns when it is gone, and its locks with it."""
        name = {"rgw": "client.rgw", "osd": "osd.0", "mon": "mon.a"}[daemon]
        process = psutil.Process(int(Path(self.environment["DIR"], "run", f"{name}.pid").read_text()))
        process.kill()
        with suppress(psutil.NoSuchProcess):
            # A zombie with threads is still giving back what it held: the lock of the disk among it.
            while process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
                time.sleep(0.005)

    def restart(self, daemon: str) -> None:
        """Returns when the gateway answers; what it says about objects may wait for the disk."""
        self._do("restart", daemon)

    def _do(self, *command: str) -> None:
        # The daemons inherit what they are given: with a pipe, the call would wait for them to end.
        with Path(self.environment["DIR"], "start.log").open("a") as output:
            subprocess.run(
                ["bash", CEPH_SCRIPT, *command],
                env=self.environment,
                stdout=output,
                stderr=output,
                timeout=120,
                check=True,
            )


@contextmanager
def running_ministack(services: str = "s3") -> Iterator[S3Server]:
    """ministack lives in an environment of its own, since it pins another boto3."""
    path = os.environ.get("CONTENDER_MINISTACK") or str(ROOT / ".venv-servers" / "bin" / "ministack")
    if not Path(path).is_file():
        pytest.skip(f"ministack is not installed: set CONTENDER_MINISTACK, or install it so that {path} exists")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "GATEWAY_PORT": str(port)}
        environment |= {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "SERVICES": services,
            "LOG_LEVEL": "ERROR",
        }
        process = subprocess.Popen(
            [path], env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for_port(port)
            yield S3Server("ministack", f"http://127.0.0.1:{port}", "testkey", "testsecret")
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def running_ceph(kept_on: str = "memstore") -> Iterator[CephServer]:
    """`kept_on`: memstore is fast and forgets when its disk daemon ends, bluestore survives that."""
    if not shutil.which("radosgw"):
        pytest.skip("radosgw is not installed: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd")
    port = free_port_range(50)
    folder = tempfile.mkdtemp(prefix="rgw", dir="/tmp")  # socket paths below it must stay under 107 bytes
    environment = {**os.environ, "DIR": folder, "PORT": str(port), "TLSPORT": str(port + 45), "STORE": kept_on}
    server = CephServer(
        "ceph",
        f"http://127.0.0.1:{port}",
        "testkey",
        "testsecret",
        tls_endpoint=f"https://127.0.0.1:{port + 45}",
        certificate=f"{folder}/cert.pem",
        environment=environment,
    )
    try:
        try:
            server._do("start")
        except subprocess.CalledProcessError:
            pytest.fail((Path(folder) / "start.log").read_text())
        yield server
    finally:
        subprocess.run(["bash", CEPH_SCRIPT, "wipe"], env=environment, check=False, timeout=60)


def s3_environment(server: S3Server, patch: pytest.MonkeyPatch) -> None:
    """Points the AWS environment at the server, and at nothing of the machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    patch.setenv("AWS_CONFIG_FILE", "/dev/null")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def with_bucket(server: AnyServer) -> AnyServer:
    from contender.store.s3_client import make_client

    with pytest.MonkeyPatch.context() as patch:
        s3_environment(server, patch)
        make_client(None, 3).create_bucket(Bucket=server.bucket)
    return server


@pytest.fixture(scope="session")
def ministack() -> Iterator[S3Server]:
    with running_ministack() as server:
        yield with_bucket(server)


@pytest.fixture
def sns_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An SNS on loopback that delivers to loopback, and the environment pointing at it."""
    with running_ministack("sns") as server:
        s3_environment(server, monkeypatch)
        yield server


@pytest.fixture(scope="session")
def ceph() -> Iterator[S3Server]:
    with running_ceph() as server:
        yield with_bucket(server)


@pytest.fixture(scope="session")
def ceph_on_disk() -> Iterator[CephServer]:
    with running_ceph("bluestore") as server:
        yield with_bucket(server)


@pytest.fixture
def bluestore(ceph_on_disk: CephServer, monkeypatch: pytest.MonkeyPatch) -> CephServer:
    """Ceph on a disk that survives kill -9 of its daemons, for tests that do that, and the environment pointing at it."""
    s3_environment(ceph_on_disk, monkeypatch)
    return ceph_on_disk


S3_SERVERS = [pytest.param(name, marks=pytest.mark.server(name)) for name in ("ministack", "ceph")]


@pytest.fixture(params=S3_SERVERS)
def s3_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each S3 server in turn, with the environment pointing at it."""
    server: S3Server = request.getfixturevalue(request.param)
    s3_environment(server, monkeypatch)
    return server


@pytest.fixture(params=["local", "memory", *S3_SERVERS])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind in turn."""
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    if request.param == "memory":
        return MemoryStore()
    from contender.store.s3 import S3Store

    server: S3Server = request.getfixturevalue(request.param)
    s3_environment(server, monkeypatch)
    return S3Store(server.bucket, f"t-{secrets.token_hex(6)}")


def _database_template(cache: Path) -> Path:
    """Where an empty, migrated Prefect database is kept between test sessions: migrations are half of a first start."""
    return cache / f"prefect-{version('prefect')}.db"


@pytest.fixture(scope="session")
def background_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    """The background Prefect server of a CONTENDER_HOME of its own: the one harness of all flow tests."""
    home = tmp_path_factory.mktemp("contender-home")
    template = _database_template(request.config.cache.mkdir("contender"))
    if template.exists():
        (home / "prefect").mkdir()
        shutil.copyfile(template, home / "prefect" / "prefect.db")
    info = ensure_server(home)
    try:
        if not template.exists():
            copy_database(home / "prefect" / "prefect.db", template)
        yield info
    finally:
        stop_server(home)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A CONTENDER_HOME of this test's own, for a server that it starts itself: with a database where one was made before."""
    template = _database_template(request.config.cache.mkdir("contender"))
    (tmp_path / "home" / "prefect").mkdir(parents=True)
    if template.exists():
        shutil.copyfile(template, tmp_path / "home" / "prefect" / "prefect.db")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def speaking_to() -> Callable[[ServerInfo], AbstractContextManager[ServerInfo]]:
    """Inside what it gives, this process's Prefect client speaks to that server."""
    return using_server


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of an SQLite database that is in use, put in place as a whole."""
    partial = target.with_suffix(f".{secrets.token_hex(4)}")
    with closing(sqlite3.connect(source)) as used, closing(sqlite3.connect(partial)) as copy:
        used.backup(copy)
    partial.replace(target)


@contextmanager
def using_server(info: ServerInfo) -> Iterator[ServerInfo]:
    """This process's flows, and the processes that it starts, use the server; nothing of the machine's own Prefect settings."""
    from prefect.context import refresh_global_settings_context

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        patch.setenv("CONTENDER_HOME", str(info.home))
        for name, value in client_environment(info).items():
            patch.setenv(name, value)
        refresh_global_settings_context()
        yield info
    refresh_global_settings_context()


@pytest.fixture
def prefect_server(background_server: ServerInfo) -> Iterator[ServerInfo]:
    """The background server, and this test's environment and Prefect settings pointing at it."""
    with using_server(background_server) as info:
        yield info


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 30,000 parameters, as a folder."""
    return build_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture
def gate_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process check quality in it, where Great Expectations is imported once and not in three seconds a run."""
    check_here(monkeypatch)


@pytest.fixture(scope="session")
def checking_here() -> Callable[[pytest.MonkeyPatch], None]:
    """The same for a fixture of a wider scope, with a patch of its own."""
    return check_here


def check_here(patch: pytest.MonkeyPatch) -> None:
    from contender.quality import process
    from contender.quality.gate import check

    patch.setattr(process, "ahead", nullcontext)
    patch.setattr(
        process, "check_apart", lambda rows, out, on_rows=None, **given: check(rows, out=out, on_rows=on_rows, **given)
    )
