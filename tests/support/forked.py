"""Training children forked from a process that has imported what each would import anew, in three to five seconds of processor.

`training_ahead(patch)` is for tests whose subject is not that child. A child whose environment would change what it imports, or how,
starts as a user's does.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

MODULE = "contender.training.job"
IMPORTED = (
    "accelerate",
    "contender.kinds.text_classification",
    "contender.training.finetune",
    "contender.training.head",
    "datasets",
    "transformers.integrations.sdpa_attention",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "transformers.trainer",
)
# What these say is read at imports, by torch, the hub's client or Python: to change it takes a new process.
FIXED = ("CUDA", "HF_", "HUGGINGFACE", "LD_", "MKL_", "OMP_", "PYTHON", "TOKENIZERS_", "TORCH", "TRANSFORMERS_")
MOST = 1 << 17  # bytes of one request
WORD = 20  # bytes of a number on the pipe of a child: its id, then how it ended


def fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(FIXED)}


class Process:
    """What a Popen is to Child: a process that another one forked, and whose end that one tells."""

    def __init__(self, told: int) -> None:
        self.returncode: int | None = None
        self._told = told
        self.pid = int(os.read(told, WORD))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = int(os.read(self._told, WORD) or -signal.SIGKILL)
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Ahead:
    """The process that imports and forks; started by the first request, gone with this process."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._fixed: dict[str, str] = {}

    def popen(self, command: Sequence[str], **given: Any) -> Any:
        """subprocess.Popen for Child; the training child comes from the fork."""
        wanted = fixed(given["env"])
        if command[3] != MODULE or (self._line is not None and wanted != self._fixed):
            return subprocess.Popen(command, **given)
        if self._line is None:
            self._start(given["env"])
        return self._forked(command[4:], given)

    def _start(self, environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._fixed = fixed(environment)
        here = [sys.executable, "-P", str(Path(__file__)), str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(here, env=dict(environment), pass_fds=[theirs.fileno()], process_group=0)
        atexit.register(process.wait)  # behind the next line's, as handlers run: it ends with the line
        atexit.register(self._line.close)

    def _forked(self, arguments: Sequence[str], given: Mapping[str, Any]) -> Process:
        told, tell = os.pipe()
        request = {
            "arguments": arguments,
            "environment": given["env"],
            "folder": str(Path.cwd()),
            "fds": given["pass_fds"],
        }
        assert self._line is not None
        sent = [given["stdout"].fileno(), tell, *given["pass_fds"]]
        socket.send_fds(self._line, [json.dumps(request).encode()], sent)
        os.close(tell)
        return Process(told)


_ahead = Ahead()


def training_ahead(patch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(Popen=_ahead.popen, DEVNULL=subprocess.DEVNULL)
    patch.setattr("contender.child.subprocess", given)


# --- the process that forks


def serve(line: socket.socket) -> None:
    for name in IMPORTED:
        import_module(name)
    while True:
        message, fds, _, _ = socket.recv_fds(line, MOST, 8)
        if not message:
            return
        keeper = os.fork()
        if not keeper:
            keep(line, json.loads(message), fds)
        for descriptor in fds:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue


def keep(line: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
    """Forks the child, says its id, and at its end how it ended."""
    log, tell, *passed = fds
    child = os.fork()
    if not child:
        line.close()
        os.close(tell)
        train(request, log, passed)
    for descriptor in (log, *passed):
        os.close(descriptor)
    os.write(tell, b"%*d" % (WORD, child))
    _, status = os.waitpid(child, 0)
    os.write(tell, b"%*d" % (WORD, os.waitstatus_to_exitcode(status)))
    os._exit(0)


def train(request: dict[str, Any], log: int, passed: list[int]) -> None:
    """As the interpreter would run the module."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for standard in (1, 2):
            os.dup2(log, standard)
        arguments = request["arguments"]
        for there, here in zip(request["fds"], passed, strict=True):
            at = next(
                at for at, option in enumerate(arguments) if option.endswith("-fd") and arguments[at + 1] == str(there)
            )
            arguments[at : at + 2] = [f"{arguments[at]}={here}"]  # no other one is mistaken for it
        code = import_module(MODULE).main(arguments)
    except BaseException:  # noqa: BLE001 - nothing of this process may go on behind it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
