"""Evaluations: what a release did on held-out sets, written once and never changed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contender.errors import AlreadyExists, Damaged, Missing, UsageError, known
from contender.files import describe_files
from contender.records import Evaluation, EvaluationManifest, FileEntry
from contender.registry.layout import Layout, now, parsed, sealed
from contender.registry.releases import file_entry
from contender.store import Store
from contender.store.transfer import at_once, fault_of

RECORD = "evaluation.json"
MANIFEST = "manifest.json"


class Evaluations:
    """The evaluations of one pipeline's releases."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def save(self, evaluation: Evaluation, files: Path) -> Evaluation:
        """Keeps the record and every file of the folder `files`; the evaluation that stands, this one or an earlier one.

        Each file is created only where it is absent, so that whatever is interrupted or races, nothing changes once it is there and
        the manifest, last, lists what is stored.
        """
        standing = self._manifest(evaluation.release, evaluation.evaluation)
        if standing is None:
            folder = self._layout.evaluation(evaluation.release, evaluation.evaluation)
            names = [file.path for file in describe_files(files, leave_out={RECORD, MANIFEST})]
            contents = {RECORD: lambda: sealed(evaluation)} | {name: (files / name).read_bytes for name in names}
            entries = at_once(lambda name: self._kept(folder, name, contents[name]()), sorted(contents))
            manifest = EvaluationManifest(
                evaluation=evaluation.evaluation, release=evaluation.release, files=tuple(entries), created=now()
            )
            with suppress(AlreadyExists):  # a rival finished first, over the same files
                self._store.create(folder + MANIFEST, sealed(manifest))
        return self.load(evaluation.release, evaluation.evaluation)

    def load(self, release: str, evaluation: str) -> Evaluation:
        """The evaluation's record; UsageError naming the known ones where there is none."""
        key = self._layout.evaluation(release, evaluation) + RECORD
        found = parsed(Evaluation, self.file(release, evaluation, RECORD), key)
        if (found.release, found.evaluation) != (release, evaluation):
            raise Damaged(f"{key} describes another evaluation", "It was changed after it was written.")
        return found

    def file(self, release: str, evaluation: str, name: str) -> bytes:
        """One file of the evaluation, checked: report.html, outcomes.parquet, README.md, …"""
        manifest = self.manifest(release, evaluation)
        expected = {file.path: file for file in manifest.files}
        if name not in expected:
            raise UsageError(known(f"file of evaluation {evaluation}", name, expected), "Name one of these.")
        key = self._layout.evaluation(release, evaluation) + name
        try:
            data = self._store.get(key)
        except Missing:
            raise Damaged(f"{key} is missing", "The evaluation is incomplete: restore the file.") from None
        if file_entry(name, data) != expected[name]:
            raise Damaged(f"{key} has other content than its sha256 says", "Restore the file.")
        return data

    def faults(self, release: str, evaluation: str) -> list[str]:
        """What is wrong with each stored file of the evaluation; empty where it is whole."""
        try:
            found = self._manifest(release, evaluation)
        except Damaged as error:
            return [error.what]
        if found is None:
            return [f"{MANIFEST} is missing"]
        folder = self._layout.evaluation(release, evaluation)
        return [
            fault
            for fault in at_once(lambda file: fault_of(self._store, folder + file.path, file), found.files)
            if fault
        ]

    def manifest(self, release: str, evaluation: str) -> EvaluationManifest:
        found = self._manifest(release, evaluation)
        if found is None:
            raise UsageError(
                f"{release} has no evaluation: {known('evaluation', evaluation, self.names(release))}",
                "Name one of these.",
            )
        return found

    def names(self, release: str) -> list[str]:
        """Ids of the release's whole evaluations."""
        root = self._layout.evaluations(release)
        keys = (info.key.removeprefix(root).split("/") for info in self._store.list(root))
        return [parts[0] for parts in keys if parts[1:] == [MANIFEST]]

    def newest(self, release: str) -> EvaluationManifest | None:
        """The release's evaluation that was saved last."""
        found = [self.manifest(release, name) for name in self.names(release)]
        return max(found, key=lambda manifest: (manifest.created, manifest.evaluation), default=None)

    def _manifest(self, release: str, evaluation: str) -> EvaluationManifest | None:
        key = self._layout.evaluation(release, evaluation) + MANIFEST
        try:
            return parsed(EvaluationManifest, self._store.get(key), key)
        except Missing:
            return None

    def _kept(self, folder: str, name: str, data: bytes) -> FileEntry:
        """What the store holds under that name: this content, or what an earlier attempt or a rival put there."""
        try:
            self._store.create(folder + name, data)
        except AlreadyExists:
            data = self._store.get(folder + name)
        return file_entry(name, data)
