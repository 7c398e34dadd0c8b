"""Whoever serves the live model, at every instant: a thread that asks what is live and reads it whole, over and over."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import TracebackType

from fault_lab import Desk

from contender.errors import ContenderError
from contender.records import AliasEntry

ALIAS = "production"
PAUSE = 0.05  # seconds between two looks


@dataclass
class Watch:
    """Looks at the alias until it is left; `violations` holds what must never be seen."""

    desk: Desk
    looks: int = 0
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alias-watch", daemon=True)
        self._seen: list[AliasEntry] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._left.wait(PAUSE):
            self._look()
        self._look()

    def _look(self) -> None:
        self.looks += 1
        registry = self.desk.registry
        try:
            log = registry.log(ALIAS)
            newest = registry.champion(ALIAS)
            if log and (newest is None or newest.n < log[-1].n):
                self._saw(f"entry {log[-1].n} was there and the newest is {newest and newest.n}")
            if log[: len(self._seen)] != self._seen:
                self._saw(f"entries changed: {self._seen} became {log}")
            self._seen = log
            if newest is not None:
                manifest = registry.verify(newest.release, newest.evaluation)
                if manifest.digest != newest.digest:
                    self._saw(f"entry {newest.n} names {newest.digest}, its release is {manifest.digest}")
        except ContenderError as error:
            self._saw(f"{type(error).__name__}: {error.what}")
        except Exception as error:  # noqa: BLE001 - a thread's exception would be lost
            self._saw(f"{type(error).__name__}: {error}")

    def _saw(self, what: str) -> None:
        if len(self.violations) < 5:
            self.violations.append(f"a reader of the alias saw: {what}")
