"""Stages that workers on several machines share: a copy of what one of them finished, under an S3 prefix.

    <prefix>/stages/<stage>/<key>/<digest>/…      the files, under the digest of their list: other bytes lie elsewhere
    <prefix>/stages/<stage>/<key>/stage.json      last: the same manifest as on the machine that computed it

A manifest never names a mix of two computations, and every file is checked against its sha256 when it is fetched. So anything here
may be removed at any time, by a lifecycle rule for one: what is missing or damaged is computed again.
"""

from __future__ import annotations

import logging
from pathlib import Path

from contender.errors import Missing
from contender.files import stays_inside, write_durably
from contender.records import FileEntry, Record, digest
from contender.store import Store
from contender.store.transfer import at_once, receive

log = logging.getLogger(__name__)

MANIFEST = "stage.json"


class StageManifest(Record):
    """The commit marker of a stage in a workspace: written last, so that a half-written stage is no stage."""

    stage: str
    key: str
    seconds: float
    files: tuple[FileEntry, ...]
    record: str


class SharedStages:
    """The finished stages in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged: set[str] = set()  # contents that were found so: sent again whatever their sizes say

    def fetch(self, stage: str, key: str, folder: Path) -> bool:
        """Fills the empty `folder` with the stage, its manifest last; False where it is absent or damaged."""
        place = _place(stage, key)
        try:
            data = self._store.get(f"{place}/{MANIFEST}")
            manifest = StageManifest.from_bytes(data)
        except Missing:
            return False
        except ValueError as error:
            log.warning("%s/%s/%s is damaged and computed again: %s", self._store.url, place, MANIFEST, error)
            return False
        if not manifest.files or not all(stays_inside(file.path) for file in manifest.files):
            return False
        root = f"{place}/{_content(manifest)}"
        faults = at_once(
            lambda file: receive(self._store, f"{root}/{file.path}", file, folder / file.path, None), manifest.files
        )
        for fault in filter(None, faults):
            log.warning("%s/%s is damaged and computed again: %s", self._store.url, root, fault)
        if any(faults):
            self._damaged.add(root)
            return False
        write_durably(folder / MANIFEST, data)
        return True

    def push(self, stage: str, key: str, folder: Path) -> None:
        """Uploads a whole stage: files first, the manifest last. What is there in its full length is not sent again."""
        place = _place(stage, key)
        data = (folder / MANIFEST).read_bytes()
        manifest = StageManifest.from_bytes(data)
        root = f"{place}/{_content(manifest)}"
        there = {info.key: info.size for info in self._store.list(f"{root}/")}
        if root in self._damaged:
            there = {}
        todo = [file for file in manifest.files if there.get(f"{root}/{file.path}") != file.size]
        at_once(lambda file: self._store.upload(f"{root}/{file.path}", folder / file.path), todo)
        self._store.put(f"{place}/{MANIFEST}", data)


def _place(stage: str, key: str) -> str:
    return f"stages/{stage}/{key}"


def _content(manifest: StageManifest) -> str:
    return digest([file.model_dump() for file in manifest.files])[:32]
