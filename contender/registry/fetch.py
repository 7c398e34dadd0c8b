"""A release as a folder on this machine: whole and verified, or not there."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from contender.errors import Damaged, UsageError
from contender.files import describe_files, filling, put_in_place, sha256_file, write_durably
from contender.records import FileEntry, ReleaseManifest
from contender.registry.evaluations import Evaluations
from contender.registry.layout import Layout, files_digest, parsed, release_id
from contender.registry.releases import Releases, damaged
from contender.registry.transfer import OnBytes, at_once, local_error, receive
from contender.store import Store

MANIFEST = "contender.json"
BESIDE = ("README.md", "report.html")  # an evaluation's files that come along where the model has none of that name


class Fetcher:
    """Downloads releases of one pipeline."""

    def __init__(self, store: Store, layout: Layout, releases: Releases, evaluations: Evaluations) -> None:
        self._store = store
        self._layout = layout
        self._releases = releases
        self._evaluations = evaluations

    def fetch(
        self, release: str, folder: Path, on_bytes: OnBytes | None = None, evaluation: str | None = None
    ) -> ReleaseManifest:
        """The release's model files in `folder`, its manifest as contender.json, and the report of `evaluation` (default: the newest).

        `folder` appears whole, or keeps what it was; an interrupted fetch goes on with the files that are there, and a fetch into
        a folder that another one fills waits for it. Raises Damaged where a file is not what the manifest says, and UsageError
        where `folder` holds something else than a release.
        """
        manifest = self._releases.release(release)
        folder = folder.absolute()
        if _holds(folder, manifest):
            return manifest  # before anything is written: the folder may lie where this user only reads
        try:
            with filling(folder) as partial:
                _check_replaceable(folder, partial)
                self._fetch_into(partial, folder, manifest, on_bytes, evaluation)
        except OSError as error:
            raise local_error(error, folder) from error
        return manifest

    def _fetch_into(
        self, partial: Path, folder: Path, manifest: ReleaseManifest, on_bytes: OnBytes | None, evaluation: str | None
    ) -> None:
        if _holds(folder, manifest):
            shutil.rmtree(partial)
            return  # the fetch that this one waited for brought the same release
        self._fill(partial, folder, manifest, on_bytes)
        self._add_report(partial, manifest, evaluation)
        write_durably(partial / MANIFEST, manifest.to_bytes())
        put_in_place(partial, folder)

    def _fill(self, partial: Path, folder: Path, manifest: ReleaseManifest, on_bytes: OnBytes | None) -> None:
        _remove_others(partial, {file.path for file in manifest.files})

        def one(file: FileEntry) -> str:
            path = partial / file.path
            if _is(path, file) or _taken_over(folder / file.path, path, file):
                if on_bytes:
                    on_bytes(file.size)
                return ""
            return receive(self._store, self._layout.model(manifest.release, file.path), file, path, on_bytes)

        faults = [fault for fault in at_once(one, manifest.files) if fault]
        if faults:
            raise damaged(manifest.release, faults)

    def _add_report(self, partial: Path, manifest: ReleaseManifest, evaluation: str | None) -> None:
        newest = None if evaluation else self._evaluations.newest(manifest.release)
        name = evaluation or (newest.evaluation if newest else None)
        if name is None:
            return
        there = {file.path for file in self._evaluations.manifest(manifest.release, name).files}
        model = {file.path for file in manifest.files}
        for file in BESIDE:
            if file in there and file not in model:
                write_durably(partial / file, self._evaluations.file(manifest.release, name, file))


def verify_folder(folder: Path) -> ReleaseManifest:
    """The manifest of a fetched release whose every file is whole; Damaged names each that is not, or that does not belong."""
    try:
        return _verified(folder)
    except OSError as error:
        raise UsageError(
            f"cannot read {error.filename or folder}: {error.strerror}", "Name a folder that you can read."
        ) from error


def _verified(folder: Path) -> ReleaseManifest:
    try:
        data = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} holds no {MANIFEST}", "Name a folder that `contender pull` wrote.") from None
    manifest = parsed(ReleaseManifest, data, str(folder / MANIFEST))
    if manifest.digest != files_digest(manifest.files) or manifest.release != release_id(manifest.digest):
        raise Damaged(f"{folder / MANIFEST} contradicts itself", "Pull the release again.")
    expected = {file.path: file for file in manifest.files}
    found = {file.path: file for file in describe_files(folder, leave_out={MANIFEST})}
    faults = [f"{path} is missing" for path in expected if path not in found]
    faults += [f"{path} has other content" for path in expected if path in found and found[path] != expected[path]]
    faults += [f"{path} does not belong to it" for path in found if path not in expected and path not in BESIDE]
    if faults:
        raise Damaged(f"{folder} is not release {manifest.release}: {'; '.join(faults)}", "Pull the release again.")
    return manifest


def _holds(folder: Path, manifest: ReleaseManifest) -> bool:
    try:
        return verify_folder(folder) == manifest
    except (Damaged, UsageError):
        return False


def _check_replaceable(folder: Path, partial: Path) -> None:
    """UsageError where the folder holds what no fetch put there, which a fetch would delete."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        fault = f"{folder} is no folder"
    elif folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        fault = f"{folder} holds files that are no release"
    else:
        return
    with suppress(OSError):
        partial.rmdir()
    raise UsageError(fault, "Name a new folder, or one that an earlier pull wrote.")


def _is(path: Path, file: FileEntry) -> bool:
    return (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_size == file.size
        and sha256_file(path) == file.sha256
    )


def _taken_over(old: Path, path: Path, file: FileEntry) -> bool:
    """Copies a whole file of the release that stands in the folder now, so that it is not downloaded again."""
    if not _is(old, file):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old, path)
    return _is(path, file)


def _remove_others(partial: Path, wanted: set[str]) -> None:
    for path in sorted(partial.rglob("*"), reverse=True):
        if path.is_symlink() or (not path.is_dir() and path.relative_to(partial).as_posix() not in wanted):
            path.unlink()
