"""A model that is always the release that an alias names.

A thread looks every few seconds. When the alias moved, it pulls the new release into a folder of its own, loads it, lets it answer
once, and puts it in place of the old one by one assignment: whoever took the old one goes on with it to the end. Whatever is wrong
with the new release or with its store, the old one stays, and `status` says what the trouble is.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import ContenderError, StoreError, Transient, UsageError, internal
from contender.files import expanded, write_durably
from contender.kinds.base import Model
from contender.records import AliasEntry, digest
from contender.registry import Registry, verify_folder
from contender.registry.layout import is_release_id, now, parsed, sealed
from contender.registry.naming import DEFAULT_ALIAS, FORMS, name_parts
from contender.serving.model import load
from contender.store import open_store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

log = logging.getLogger(__name__)

LONGEST_PAUSE = 300.0  # seconds between attempts at a release that cannot be taken
ENTRY = "entry.json"


@dataclass(frozen=True)
class Live:
    """A release at work: the model, the alias's entry that named it, and since when it answers here (UTC, ISO 8601)."""

    model: Model
    entry: AliasEntry
    since: str


@dataclass(frozen=True)
class Status:
    """When the last look ended (UTC, ISO 8601), and in one sentence what keeps the newest release from being served."""

    looked: str | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Refused:
    """An entry whose release could not be taken, how often, and when it is tried again (time.monotonic())."""

    n: int = 0
    attempts: int = 0
    again: float = 0.0
    trouble: str = ""


class Follower:
    """Keeps the release that `alias` names loaded; in `folder`, which several followers may share, it and the one before it stay.

        with Follower(registry, "production", Path("serving")) as follower:
            follower.live.model.predict(["…"])

    `every`: seconds between looks, each of which is one request while the alias stands still. `device`: see `contender.load`.
    While a release takes another's place, both are in memory. `public_key`: only what this key signed is served.
    """

    def __init__(
        self,
        registry: Registry,
        alias: str,
        folder: Path,
        every: float = 5.0,
        device: str | None = None,
        public_key: Ed25519PublicKey | None = None,
    ) -> None:
        self.name = f"{registry.url}@{alias}"
        self.live: Live | None = None
        self.status = Status()
        self._registry, self._alias, self._every, self._device = registry, alias, every, device
        self._public_key = public_key
        self._folder = folder / f"{registry.pipeline}@{alias}-{digest(self.name)[:8]}"
        self._refused = Refused()
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follower of {alias}", daemon=True)

    @classmethod
    def of(
        cls,
        name: str,
        folder: str | os.PathLike[str],
        every: float = 5.0,
        device: str | None = None,
        profile: str | None = None,
        public_key: Ed25519PublicKey | None = None,
    ) -> Follower:
        """Follows `REGISTRY_URL/name[@alias]`; `profile` is one of the AWS configuration. UsageError for a NAME that is none."""
        url, pipeline, alias = name_parts(name)
        if url is None:
            raise UsageError(f"{name!r} names no registry", FORMS)
        if alias and is_release_id(alias):
            raise UsageError(f"{name!r} names a release, which never moves", "Name an alias: NAME@production.")
        registry = Registry(open_store(url, profile), pipeline)
        return cls(registry, alias or DEFAULT_ALIAS, Path(expanded(os.fspath(folder))), every, device, public_key)

    def __enter__(self) -> Follower:
        """Looks once, so that what can be served is served from the start, and goes on looking in a thread.

        Raises UsageError for what will not mend itself, such as a device that there is not. Where the store does not answer, the
        release that was served last from this folder is served again.
        """
        error = self._look()
        if isinstance(error, UsageError) and self.live is None:
            raise error
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=self._every)  # a pull that is under way is not waited for

    def look(self) -> Status:
        """Looks now, and takes the new release where there is one; whatever goes wrong is in the status."""
        self._look()
        return self.status

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    def _look(self) -> ContenderError | None:
        with self._looking:
            error: ContenderError | None = None
            trouble: str | None = None
            try:
                trouble = self._follow()
            except ContenderError as raised:
                error = raised
            except Exception as raised:  # noqa: BLE001 - the thread that looks outlives whatever a library raises
                error = internal(raised)
            trouble = error.in_one_line if error else trouble
            if trouble and trouble != self.status.trouble:
                log.warning("%s: %s", self.name, trouble)
            self.status = Status(now(), trouble)
            return error

    def _follow(self) -> str | None:
        """One look; what keeps the newest release from being served where that is no news."""
        live = self.live
        try:
            if live and self._registry.is_newest(self._alias, live.entry.n):
                return None
            entry = self._registry.champion(self._alias)
        except (Transient, StoreError):
            if live is None:
                self._serve_remembered()
            raise
        if entry is None:
            return f"{self.name} names no release yet"
        refused = self._refused
        if entry.n == refused.n and time.monotonic() < refused.again:
            return refused.trouble
        try:
            self._take(entry)
        except Transient:
            raise  # the next look goes on with the files that came
        except Exception as raised:
            error = raised if isinstance(raised, ContenderError) else internal(raised)
            trouble = f"{entry.release} of entry {entry.n} cannot be served: {error.in_one_line}"
            attempts = refused.attempts + 1 if entry.n == refused.n else 1
            pause = min(self._every * 2**attempts, LONGEST_PAUSE)
            self._refused = Refused(entry.n, attempts, time.monotonic() + pause, trouble)
            if self.live is None:
                raise
            return trouble
        return None

    def _take(self, entry: AliasEntry) -> None:
        old = self.live
        if old and old.entry.digest == entry.digest:
            self.live = Live(old.model, entry, old.since)
        else:
            self._registry.named_by(entry)
            place = self._folder / entry.release
            self._registry.fetch(entry.release, place, evaluation=entry.evaluation, public_key=self._public_key)
            self.live = Live(self._ready(place), entry, now())
        log.info("%s: serving %s, entry %d", self.name, entry.release, entry.n)
        self._remember(entry, old.entry.release if old else None)

    def _ready(self, place: Path) -> Model:
        model = load(place, verify=False, device=self._device)
        model.warm_up()
        return model

    def _remember(self, entry: AliasEntry, previous: str | None) -> None:
        """Notes what is served, for a start while the store is away, and keeps the release before it, for a quick way back.

        Best effort: the new release answers already.
        """
        with suppress(OSError):
            write_durably(self._folder / ENTRY, sealed(entry))
            for path in [*self._folder.glob("r-*"), *self._folder.glob(".r-*")]:
                if path.name not in (entry.release, previous):
                    shutil.rmtree(path, ignore_errors=True)

    def _serve_remembered(self) -> None:
        path = self._folder / ENTRY
        with suppress(OSError, ContenderError):
            entry = parsed(AliasEntry, path.read_bytes(), str(path))
            place = self._folder / entry.release
            verify_folder(place, public_key=self._public_key)
            self.live = Live(self._ready(place), entry, now())
            log.warning("%s: serving %s, which was served here last", self.name, entry.release)
