"""A real OpenAI-compatible server on loopback: `transformers serve` with a small random chat model."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from chatting import build_chat_base
from ports import free_port

needs_server = pytest.mark.skipif(
    find_spec("openai") is None, reason="openai is not installed, which transformers serve wants: pip install '.[dev]'"
)
SERVE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
START_SECONDS = 120.0


@dataclass
class Llm:
    """The server of the model in a folder, on one port for as long as it lives; `start` and `stop` as often as wanted."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """What model.base calls it."""
        return f"api:http://127.0.0.1:{self.port}/v1#{self.folder}"

    def start(self) -> Llm:
        if not (self.folder / "config.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            build_chat_base(self.folder, positions=4096)
        arguments = ["serve", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port), "--device", "cpu"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SERVE, *arguments]
        with (self.folder.parent / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            assert self.process.poll() is None, (self.folder.parent / "serve.log").read_text()
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return self
        raise AssertionError((self.folder.parent / "serve.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None
