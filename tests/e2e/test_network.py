"""Without a network: a run on local folders needs none, and a base model of the hub says that it cannot be reached."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from desk import Desk, tickets

SCRIPT = Path(sys.executable).parent / "contender"
ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c")
# SIOCSIFFLAGS with IFF_UP, IFF_RUNNING and IFF_LOOPBACK: what `ip link set lo up` does, where there may be no `ip`.
UP = 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x49))'
LOOPBACK = f"{sys.executable} -c '{UP}'"

# A process of its own, because the Hub's client reads its endpoint once; without the five minutes that a run waits for a network.
IMPATIENT = "import sys; from tasks import policy; from deployments.cli import main; policy.PATIENCE_SECONDS = 3.0; sys.exit(main())"


def can_be_alone() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*ALONE, LOOPBACK], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not can_be_alone(), reason="no network namespaces here")
def test_a_whole_run_needs_no_network(desk: Desk, tmp_path: Path) -> None:
    """In a namespace whose only interface is loopback, with a Prefect server of its own."""
    desk.drop("1.csv", tickets(120, seed=1))
    command = f"{LOOPBACK} && {SCRIPT} run {desk.pipeline} --json; code=$?; {SCRIPT} up --stop; exit $code"
    environment = {**os.environ, "CONTENDER_HOME": str(tmp_path / "home")}
    done = subprocess.run([*ALONE, command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["outcome"] == "promoted"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_hub_that_cannot_be_reached_is_said(desk: Desk) -> None:
    desk.drop("1.csv", tickets(60, seed=1))
    environment = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(desk.folder / "hub"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # as `run` sets it, had it been the first to import Prefect
    }
    arguments = ["run", desk.pipeline, "--json", "--set", "model.base=some-team/some-model"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPATIENT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["outcome"]) == (1, "failed"), done.stderr
    assert "some-team/some-model" in document["error"]["what"]
    assert "given up after" in done.stderr
    assert "Traceback" not in done.stderr
