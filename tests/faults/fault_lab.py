"""The laboratory: small pipelines to kill, the command that runs them, and what an undisturbed run of each leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from desk import PIPELINE, tickets, write_tickets
from tiny import build_tiny_base

from contender.files import describe_files
from contender.records import LedgerEntry
from contender.registry import Registry
from contender.registry.decisions import numbered_entries
from contender.store import LocalStore

Start = Literal["first", "champion", "bare"]

ROOT = Path(__file__).parents[2]
FUSE = Path(__file__).parent / "fuse"
NAME = "desk"
CHECKPOINT_STEPS = 5
RESOURCES = f"resources: {{checkpoint: {{steps: {CHECKPOINT_STEPS}}}}}\n"
TAG = "CONTENDER_FAULTS_RUN"  # in the environment of a run and of every process below it
LONGEST = 240.0  # seconds of one run, on a busy machine
REST = 2.1  # seconds: a file that changed a moment ago is hashed again at every look, and its digest not kept


@dataclass(frozen=True)
class Desk:
    """The folder of one pipeline: its data, its workspace, its registry."""

    folder: Path

    @property
    def workspace(self) -> Path:
        return self.folder / ".contender"

    @property
    def store(self) -> Path:
        return self.workspace / "registry"

    @property
    def registry(self) -> Registry:
        return Registry(LocalStore(self.store), NAME)

    @property
    def split(self) -> Path:
        return self.store / NAME / "split" / "00000001.json"

    def drop(self, name: str, rows: list[tuple[str, str]]) -> None:
        write_tickets(self.folder / "tickets" / name, rows)


@dataclass(frozen=True)
class Left:
    """What a finished pipeline has left, as far as two runs of the same must agree on it."""

    models: dict[str, dict[str, str]]  # release → file → sha256 of its bytes
    alias: list[tuple[Any, ...]]
    decisions: list[tuple[Any, ...]]
    looks: list[tuple[Any, ...]]
    series: list[tuple[Any, ...]]
    paths: frozenset[str]


def what_is_left(desk: Desk) -> Left:
    registry, folder = desk.registry, desk.store / NAME
    models = {
        release.name: {file.path: file.sha256 for file in describe_files(release / "model")}
        for release in sorted((folder / "releases").iterdir())
    }
    store = LocalStore(desk.store)
    return Left(
        models=models,
        alias=[(e.n, e.release, e.digest, e.evaluation, e.previous, e.reason) for e in registry.log("production")],
        decisions=[
            (d.key, d.outcome, d.release, d.champion, d.alias_entry, d.evaluation, d.metrics, d.verdict)
            for d in registry.decisions()
        ],
        looks=[
            (e.n, e.challenger, e.champion, e.set_digest, e.rule, e.alpha)
            for e in numbered_entries(store, f"{NAME}/ledger/test/", LedgerEntry)
        ],
        series=[
            (o.n, o.champion, o.snapshot, o.rows, o.metrics, o.drift, o.outcomes) for o in registry.monitoring.all()
        ],
        paths=frozenset(path.relative_to(desk.folder).as_posix() for path in desk.folder.rglob("*")),
    )


@dataclass
class Going:
    """A run of the command as it goes; its output lies in files, which no orphan can hold open against us."""

    process: subprocess.Popen[bytes]
    tag: str
    out: Path
    err: Path

    def ended(self) -> int:
        """The exit code, -signal where it was killed."""
        return self.process.wait(LONGEST)

    @property
    def document(self) -> dict[str, Any]:
        text = self.out.read_text()
        return json.loads(text) if text.strip() else {}


class Lab:
    """Starting folders, each made once, and what comes of them undisturbed; everything below `root`.

    `environment` names the Prefect server.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.environment = dict(environment)
        self.seconds: dict[Start, float] = {}
        self._expected: dict[str, Left] = {}

    def start(self, desk: Desk, place: Path, tag: str, fault: Mapping[str, Any] | None = None) -> Going:
        """Runs `contender run` on the desk; what it prints goes to `place`.out and .err."""
        temporary = place.parent / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        given = {
            **os.environ,
            **self.environment,
            "PYTHONPATH": f"{FUSE}{os.pathsep}{ROOT}",
            "OMP_NUM_THREADS": "1",  # tiny models gain nothing from more
            "TMPDIR": str(temporary),
            "CONTENDER_CACHE": str(self.root / "cache"),  # not what this user's runs have measured
            TAG: tag,
        }
        given.pop("PYTHONDONTWRITEBYTECODE", None)
        if fault is not None:
            given["CONTENDER_FAULT"] = json.dumps(fault)
        command = [Path(sys.executable).parent / "contender", "run", str(desk.folder / "desk.yaml"), "--json"]
        out, err = place.with_suffix(".out"), place.with_suffix(".err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=given, cwd=desk.folder
            )
        return Going(process, tag, out, err)

    def fresh(self, start: Start, folder: Path) -> Desk:
        """A new desk in `folder`, as it is before the run that is killed."""
        if start == "champion":
            shutil.copytree(self._first.folder, folder)
            desk = Desk(folder)
            desk.drop("2.csv", tickets(320, seed=2))
            return desk
        desk = self._empty(folder)
        if start == "first":
            desk.split.parent.mkdir(parents=True)
            shutil.copy(self._first.split, desk.split)
        return desk

    def expected(self, start: Start, desk: Desk) -> Left:
        """What the desk must have left in the end: what a run does that nobody kills. A bare desk has drawn its own split."""
        name = desk.folder.parent.name if start == "bare" else start
        if name not in self._expected:
            if start == "first":
                self._expected[name] = what_is_left(self._first)
            else:
                calm = self.fresh(start, self.root / f"calm-{name}" / NAME)
                if start == "bare":
                    calm.split.parent.mkdir(parents=True)
                    shutil.copy(desk.split, calm.split)
                self._undisturbed(start, calm)
                self._expected[name] = what_is_left(calm)
        return self._expected[name]

    def calm_seconds(self, start: Start) -> float:
        """How long the undisturbed run takes."""
        if start == "champion" and start not in self.seconds:
            self.expected(start, self._first)
        _ = self._first
        return self.seconds["champion" if start == "champion" else "first"]

    @cached_property
    def base(self) -> Path:
        folder = self.root / "base"
        folder.mkdir(parents=True)
        return build_tiny_base(folder)

    @cached_property
    def _first(self) -> Desk:
        """A desk whose first model was promoted: trained on labels at random, so that whatever is learnt later is better."""
        desk = self._empty(self.root / "calm-first" / NAME)
        self._undisturbed("first", desk)
        return desk

    def _empty(self, folder: Path) -> Desk:
        (folder / "tickets").mkdir(parents=True)
        (folder / "desk.yaml").write_text(PIPELINE.format(base=self.base) + RESOURCES)
        desk = Desk(folder)
        desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))
        return desk

    def _undisturbed(self, start: Start, desk: Desk) -> None:
        began = time.monotonic()
        going = self.start(desk, desk.folder.parent / "run", tag=f"calm-{start}")
        try:
            code = going.ended()
        finally:
            going.process.kill()
        assert (code, going.document.get("outcome")) == (0, "promoted"), going.err.read_text()
        self.seconds.setdefault(start, time.monotonic() - began)
