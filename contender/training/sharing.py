"""Checkpoints of a job that workers on several machines share: sent in the background, found by whoever continues.

    jobs/<key>/checkpoints/00000420-000003/…     step and attempt; checkpoint.json last

A slow store slows no training: a checkpoint is linked aside and sent from a thread; where the next one is there before the last was
begun, the last one is skipped.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contender.errors import ContenderError, StageFailed
from contender.files import put_in_place, stays_inside, write_durably
from contender.progress import Note, tell
from contender.store import Store
from contender.store.transfer import at_once, receive
from contender.training.attempts import Attempts
from contender.training.checkpoints import KEPT, MANIFEST, CheckpointManifest

END_SECONDS = 20  # that a run which ends, also one that was asked to stop, gives the last checkpoint to arrive

log = logging.getLogger(__name__)


class SharedCheckpoints:
    """The checkpoints of one job in a store, beside its folder on this machine."""

    def __init__(self, store: Store, key: str, job_folder: Path, attempts: Attempts) -> None:
        self._store = store
        self._root = f"jobs/{key}/checkpoints/"
        self._local = job_folder / "checkpoints"
        self._aside = job_folder / "sending"
        self._attempts = attempts
        self._waiting: Path | None = None
        self._wake = threading.Condition()
        self._ending = False
        self._superseded = False
        self._trouble = ""

    def restore(self) -> None:
        """Brings the newest whole one here, where it is newer than what this machine has."""
        mine = max((int(path.name) for path in self._local.glob("[0-9]*") if (path / MANIFEST).exists()), default=-1)
        for name in self._names():
            if _step(name) <= mine:
                return
            if self._fetched(name):
                return

    @contextmanager
    def sending(self) -> Iterator[SharedCheckpoints]:
        """Inside, `send` sends; at the end the last one is waited for, for a while."""
        thread = threading.Thread(target=self._work, name="send-checkpoints", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with self._wake:
                self._ending = True
                if self._waiting:
                    tell_quietly("sending the last checkpoint")
                self._wake.notify()
            thread.join(END_SECONDS)
            shutil.rmtree(self._aside, ignore_errors=True)

    def send(self, checkpoint: Path) -> None:
        """A new checkpoint of this machine's. Raises StageFailed where a newer attempt at the job has begun elsewhere."""
        if self._superseded:
            raise StageFailed(
                "another attempt at this training began elsewhere, and goes on from the last checkpoint",
                "Two runs were at the same job: set concurrency: queue, and let them use one Prefect server.",
            )
        aside = self._aside / f"{checkpoint.name}.{time.monotonic_ns()}"
        try:
            aside.mkdir(parents=True)
            for path in checkpoint.iterdir():
                os.link(path, aside / path.name)
        except OSError as error:  # the training has two newer ones already, or the file system has no links
            log.warning("checkpoint %s is not sent: %s", checkpoint.name, error)
            shutil.rmtree(aside, ignore_errors=True)
            return
        with self._wake:
            skipped, self._waiting = self._waiting, aside
            self._wake.notify()
        if skipped:
            shutil.rmtree(skipped, ignore_errors=True)

    def forget(self) -> None:
        """Once the job's model is kept, nobody continues from them."""
        for info in list(self._store.list(self._root)):
            self._store.delete(info.key)

    def _work(self) -> None:
        while True:
            with self._wake:
                while self._waiting is None and not self._ending:
                    self._wake.wait()
                aside, self._waiting = self._waiting, None
            if aside is None:
                return
            try:
                self._send(aside)
                self._trouble = ""
            except (ContenderError, OSError) as error:
                said = error.what if isinstance(error, ContenderError) else str(error)
                if said != self._trouble:  # once, not with every checkpoint
                    log.warning("a checkpoint could not be sent, the next one will be tried: %s", said)
                self._trouble = said
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def _send(self, aside: Path) -> None:
        data = (aside / MANIFEST).read_bytes()
        manifest = CheckpointManifest.from_bytes(data)
        name = f"{manifest.step:08d}-{manifest.attempt:06d}"
        for file in manifest.files:
            self._store.upload(f"{self._root}{name}/{file.path}", aside / file.path)
        # An attempt whose machine was cut off may still be training: what it finds out late is not taken up by its successor.
        if not self._attempts.is_newest(manifest.attempt):
            self._superseded = True
            return
        self._store.put(f"{self._root}{name}/{MANIFEST}", data)
        for old in self._names()[KEPT:]:
            self._remove(old)

    def _names(self) -> list[str]:
        """Of those whose manifest is there, the newest first."""
        keys = [info.key.removeprefix(self._root) for info in self._store.list(self._root)]
        names = [key.removesuffix(f"/{MANIFEST}") for key in keys if key.endswith(f"/{MANIFEST}")]
        return sorted((name for name in names if name.replace("-", "").isdigit()), reverse=True)

    def _remove(self, name: str) -> None:
        """The manifest first: what is half removed is no checkpoint."""
        prefix = f"{self._root}{name}/"
        self._store.delete(f"{prefix}{MANIFEST}")
        for info in list(self._store.list(prefix)):
            self._store.delete(info.key)

    def _fetched(self, name: str) -> bool:
        prefix = f"{self._root}{name}/"
        partial = self._local / f".{name}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            data = self._store.get(f"{prefix}{MANIFEST}")
            manifest = CheckpointManifest.from_bytes(data)
            if not all(stays_inside(file.path) for file in manifest.files):
                raise ValueError("a path leads out of the checkpoint")
            partial.mkdir(parents=True)
            faults = at_once(
                lambda file: receive(self._store, f"{prefix}{file.path}", file, partial / file.path, None),
                manifest.files,
            )
            if any(faults):
                raise ValueError("; ".join(filter(None, faults)))
            write_durably(partial / MANIFEST, data)
            put_in_place(partial, self._local / f"{manifest.step:08d}")
        except ValueError as error:
            log.warning("%s/%s is damaged and skipped: %s", self._store.url, prefix, error)
            return False
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True


def _step(name: str) -> int:
    return int(name.partition("-")[0])


def tell_quietly(text: str) -> None:
    """For the end of a run that was asked to stop: the note must not stop it once more."""
    with suppress(ContenderError):
        tell(Note("train", "moved", text))
