"""`contender up PIPELINE…` as a user starts it, in a home of its own, and everything that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from workers import lives, that_run, until

from deployments.home import Home
from deployments.lock import StackFiles


@dataclass
class Up:
    """One `contender up` that runs, and what it said."""

    home: Path
    process: subprocess.Popen[bytes]
    out: Path
    shown: Path
    seen: set[psutil.Process] = field(default_factory=set)

    @classmethod
    def start(cls, home: Path, *arguments: str, **environment: str) -> Up:
        number = len(list(home.parent.glob("up-*.out")))
        out, shown = home.parent / f"up-{number}.out", home.parent / f"up-{number}.err"
        given = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        given |= {"CONTENDER_HOME": str(home)} | environment
        line = [sys.executable, "-P", "-m", "deployments.cli", "up", *arguments, "--json"]
        with out.open("wb") as stdout, shown.open("wb") as stderr:
            process = subprocess.Popen(line, env=given, stdout=stdout, stderr=stderr, start_new_session=True)
        return cls(home, process, out, shown)

    @property
    def said(self) -> str:
        logs = [path.read_text(errors="replace")[-3000:] for path in (self.home / "stack").glob("*.log")]
        return "\n---\n".join([self.shown.read_text(errors="replace"), *logs])

    def until(self, words: str, seconds: float = 60) -> None:
        def look() -> bool:
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        until(repr(words), look, seconds, lambda: self.said)

    def below(self) -> list[psutil.Process]:
        """Every process that it started, its server among them, and those that these started; also after their parent died."""
        state = Home(self.home).read_state()
        for pid in filter(None, (self.process.pid, state.pid if state else None)):
            with suppress(psutil.NoSuchProcess):
                self.seen.update({psutil.Process(pid), *psutil.Process(pid).children(recursive=True)})
        return [process for process in self.seen if lives(process)]

    def running(self, module: str) -> list[psutil.Process]:
        return that_run(module, self.below())

    def ends(self, number: int = signal.SIGINT, seconds: float = 60) -> dict[str, Any]:
        """Asks it to end; its document. Nothing that it started lives then."""
        self.below()
        self.process.send_signal(number)
        assert self.process.wait(seconds) == 0, self.said
        self.leaves_nothing(10)
        document: dict[str, Any] = json.loads(self.out.read_bytes())
        return document

    def leaves_nothing(self, seconds: float) -> None:
        until(
            "the end of all that it started", lambda: not self.below(), seconds, lambda: f"{self.below()}\n{self.said}"
        )
        assert StackFiles.of(self.home).running() is None

    def kill_all(self) -> None:
        for process in self.below():
            with suppress(psutil.NoSuchProcess):
                process.kill()
