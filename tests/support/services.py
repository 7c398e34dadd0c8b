"""PostgreSQL, Redis and nginx as Debian packages them, on loopback, and the blocks of a page that configure them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = ("/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([*BINARIES, os.environ["PATH"]]))
    if not found:
        pytest.skip(
            f"{name} is not installed: apt-get install --no-install-recommends postgresql redis-server nginx-light"
        )
    return found


def environment(block: str, replaced: dict[str, str]) -> dict[str, str]:
    """The NAME=value lines of a block, with the page's places replaced by the test's."""
    return dict(line.split("=", 1) for line in replace(block, replaced).splitlines())


def replace(text: str, replaced: dict[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


@contextmanager
def postgres(port: int) -> Iterator[None]:
    """A cluster that trusts loopback, with an empty database `prefect`."""
    initdb, pg_ctl, psql = map(program, ("initdb", "pg_ctl", "psql"))
    folder = Path(tempfile.mkdtemp(prefix="postgres", dir="/tmp"))  # its owner could not look into a folder of pytest's
    as_owner: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        as_owner = [program("runuser"), "-u", "postgres", "--"]
    data = folder / "data"
    _do([*as_owner, initdb, "-D", str(data), "-U", "prefect", "--auth=trust", "--no-sync"])
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    _do([*as_owner, pg_ctl, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start"])
    try:
        _do([psql, *at(port, "postgres"), "-c", "CREATE DATABASE prefect"])
        _do([psql, *at(port, "prefect"), "-c", "CREATE EXTENSION IF NOT EXISTS pg_trgm"])
        yield
    finally:
        _do([*as_owner, pg_ctl, "-D", str(data), "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def at(port: int, database: str) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "-d", database]


@contextmanager
def redis(folder: Path, port: int) -> Iterator[None]:
    folder.mkdir()
    command = [program("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with started(command, folder / "log"):
        yield


@contextmanager
def nginx(folder: Path, config: str) -> Iterator[None]:
    """`config` names its files below `folder`."""
    (folder / "nginx.conf").write_text(config)
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with started(command, folder / "nginx.log"):
        yield


def certificate(folder: Path) -> None:
    """cert.pem and key.pem for localhost."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    out = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    _do([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *out])


@contextmanager
def started(command: list[str], log: Path, given: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with the test."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=given, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
