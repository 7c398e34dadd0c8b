"""One scenario: a run is killed, once or several times, the same command is run again until it is done, and nothing may be wrong."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from fault_checks import State, compared, document_faults, observed, state_faults, whole_checkpoints
from fault_lab import CHECKPOINT_STEPS, REST, TAG, Desk, Going, Lab, Start
from fault_points import Point, Victim
from fault_watch import Watch

ORPHAN_SECONDS = 5.0
TRIES = 5


@dataclass(frozen=True)
class Moment:
    """A kill from outside, after a share of the time that the undisturbed run takes."""

    share: float
    victim: Victim

    @property
    def name(self) -> str:
        return f"{self.share:.0%} of the time, {'everything' if self.victim == 'tree' else 'the run alone'}"


Kill = Point | Moment


@dataclass(frozen=True)
class Scenario:
    """Where it starts, and the kills in their order.

    `at_once`: the next run does not wait until the last one's processes are gone. `damage`: behind each kill a byte of the newest
    checkpoint is another one, as after a power cut.
    """

    start: Start
    kills: tuple[Kill, ...]
    at_once: bool = False
    damage: bool = False

    @property
    def name(self) -> str:
        more = (", at once" if self.at_once else "") + (", newest checkpoint damaged" if self.damage else "")
        return " + ".join(kill.name for kill in self.kills) + more


@dataclass
class Outcome:
    """What came of a scenario."""

    scenario: Scenario
    folder: Path
    violations: list[str] = field(default_factory=list)
    continued_from: list[str] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)  # training steps, where the killed process could say its step
    kills: int = 0
    runs: int = 0
    seconds: float = 0.0
    looks: int = 0


class Missed(Exception):
    """The run was done before its moment came."""


def run_scenario(lab: Lab, scenario: Scenario, keep: bool = False) -> Outcome:
    """Plays the scenario in a folder of its own, which stays where `keep` says so or something is wrong.

    How long a run takes depends on what else the machine does: a moment that was missed is tried earlier, from the start.
    """
    calm = lab.calm_seconds(scenario.start)
    for _ in range(TRIES):
        outcome = Outcome(scenario, lab.root / f"scenario-{secrets.token_hex(4)}")
        try:
            _play(lab, outcome, calm)
        except Missed:
            calm *= 0.7
            shutil.rmtree(outcome.folder)
            continue
        if not (keep or outcome.violations):
            shutil.rmtree(outcome.folder)
        return outcome
    raise AssertionError(f"{scenario.name}: the moment never came in {TRIES} tries")


def _play(lab: Lab, outcome: Outcome, calm: float) -> None:
    scenario = outcome.scenario
    desk = lab.fresh(scenario.start, outcome.folder / "desk")
    if any(isinstance(kill, Point) and kill.stage == "look" for kill in scenario.kills):
        time.sleep(REST)
    began = time.monotonic()
    with Watch(desk) as watch:
        _Runs(lab, desk, outcome, calm).to_the_end()
    outcome.seconds = time.monotonic() - began
    outcome.looks = watch.looks
    outcome.violations += watch.violations
    if not outcome.violations:
        outcome.violations += compared(lab.expected(scenario.start, desk), desk)
        outcome.violations += [f"left in TMPDIR: {path.name}" for path in (outcome.folder / "runs" / "tmp").iterdir()]


class _Runs:
    """The runs of one scenario, one after another."""

    def __init__(self, lab: Lab, desk: Desk, outcome: Outcome, calm: float) -> None:
        self.lab, self.desk, self.outcome, self.calm = lab, desk, outcome, calm
        self.left = list(outcome.scenario.kills)
        self.runs = outcome.folder / "runs"
        self.runs.mkdir()
        self.orphans: list[threading.Thread] = []

    def to_the_end(self) -> None:
        most = len(self.left) + 2
        while not self._attempt():
            if self.outcome.violations:
                break
            if self.outcome.runs >= most:
                self._wrong(f"not done after {most} runs")
                break
        for thread in self.orphans:
            thread.join()
        if self.left and not self.outcome.violations:
            self._wrong(f"never reached: {self.left[0].name}")

    def _attempt(self) -> bool:
        """One run; whether it came to its end."""
        self.outcome.runs += 1
        before = observed(self.desk)
        if self.outcome.runs > 1:
            self.outcome.continued_from.append(before.reached)
        kill = self.left[0] if self.left else None
        marker = self.runs / f"fired-{len(self.outcome.scenario.kills) - len(self.left)}"
        going = self.lab.start(
            self.desk, self.runs / str(self.outcome.runs), f"{self.outcome.folder.name}-{self.outcome.runs}",
            kill.told(str(marker), str(self.desk.workspace / "jobs/*/checkpoints/*/checkpoint.json"))
            if isinstance(kill, Point) else None,
        )  # fmt: skip
        try:
            if isinstance(kill, Moment) and not _struck(going, kill, self.calm * kill.share, marker):
                raise Missed
            code = going.ended()
        finally:
            going.process.kill()  # where we are interrupted ourselves
        fired = json.loads(marker.read_text() or "{}") if marker.exists() else None
        self._look_for_orphans(going.tag)
        if fired is not None:
            self.left.pop(0)
            self.outcome.kills += 1
            if self.outcome.scenario.damage:
                self._damage()
        self._check(before, kill, fired, going, code)
        return code == 0

    def _check(self, before: State, kill: Kill | None, fired: dict[str, Any] | None, going: Going, code: int) -> None:
        alone = isinstance(kill, Point) and kill.fault.victim == "process" and kill.fault.process != "run"
        # The run itself starts another process in the place of one that died.
        expected = 0 if fired is None or alone else -signal.SIGKILL
        if code != expected:
            self._wrong(f"run {self.outcome.runs} ended with {code}:\n{going.err.read_text()[-2000:]}")
        after = observed(self.desk)
        settled = not self.outcome.scenario.at_once
        self.outcome.violations += state_faults(before, after, fired if alone else None, settled)
        if code == 0:
            self.outcome.violations += document_faults(before, going.document)
        if fired and fired.get("step") is not None:
            whole = [
                int(Path(place).parent.name) for place in fired["checkpoints"] if Path(place).parent.name.isdigit()
            ]
            repeated = fired["step"] - max(whole, default=0)
            self.outcome.repeated.append(repeated)
            if repeated > CHECKPOINT_STEPS:
                self._wrong(
                    f"killed at step {fired['step']}, and the newest checkpoint is of step {max(whole, default=0)}"
                )

    def _damage(self) -> None:
        found = whole_checkpoints(self.desk.workspace)
        if not found:
            self._wrong("there is no checkpoint to damage")
            return
        weights = found[max(found)] / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 0x40
        weights.write_bytes(content)

    def _look_for_orphans(self, tag: str) -> None:
        """Every process of a run that ended must be gone within seconds."""

        def wait() -> None:
            deadline = time.monotonic() + ORPHAN_SECONDS
            while alive := _tagged(tag):
                if time.monotonic() > deadline:
                    self._wrong(f"still there {ORPHAN_SECONDS:.0f} s later: {alive}")
                    return
                time.sleep(0.05)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self.orphans.append(thread)
        if not self.outcome.scenario.at_once:
            thread.join()

    def _wrong(self, what: str) -> None:
        self.outcome.violations.append(what)


def _struck(going: Going, moment: Moment, after: float, marker: Path) -> bool:
    """Kills from outside; False where the run has ended by then."""
    with suppress(subprocess.TimeoutExpired):
        going.process.wait(after)
        return False
    top = psutil.Process(going.process.pid)
    victims = [top, *(top.children(recursive=True) if moment.victim == "tree" else [])]
    marker.write_text("{}")
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return True


def _tagged(tag: str) -> list[str]:
    """The processes of a run that live, those included whose parent is gone."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.environ().get(TAG) == tag
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except psutil.Error:
            continue
    return found
