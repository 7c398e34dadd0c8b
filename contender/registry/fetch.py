"""A release as a folder on this machine: whole and verified, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import Damaged, UsageError
from contender.files import (
    describe_files,
    filling,
    irregular_files,
    is_file,
    is_folder,
    put_in_place,
    sha256_file,
    write_durably,
)
from contender.records import FileEntry, ReleaseManifest
from contender.registry.evaluations import Evaluations
from contender.registry.layout import Layout, files_digest, parsed, release_id, sealed
from contender.registry.releases import Releases, damaged
from contender.registry.signing import Signature, Signatures, check_signed, signatures_of
from contender.store import Store
from contender.store.transfer import OnBytes, at_once, local_error, receive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OnWarning = Callable[[str], None]

MANIFEST = "contender.json"
SIGNATURES = "contender.signatures.json"
BESIDE = ("README.md", "report.html")  # an evaluation's files that come along where the model has none of that name


class Fetcher:
    """Downloads releases of one pipeline."""

    def __init__(self, store: Store, layout: Layout, releases: Releases, evaluations: Evaluations) -> None:
        self._store = store
        self._layout = layout
        self._releases = releases
        self._evaluations = evaluations

    def fetch(
        self,
        release: str,
        folder: Path,
        on_bytes: OnBytes | None = None,
        evaluation: str | None = None,
        on_warning: OnWarning | None = None,
        public_key: Ed25519PublicKey | None = None,
    ) -> ReleaseManifest:
        """The release's model files in `folder`, its manifest as contender.json, and the report of `evaluation` (default: the newest).

        `folder` appears whole, or keeps what it was; an interrupted fetch goes on with the files that are there, and a fetch into
        a folder that another one fills waits for it. A damaged report is left out, and told to `on_warning`. Raises Damaged where a
        file of the model is not what the manifest says, or where `public_key` did not sign that; UsageError where `folder` holds
        something else than a release.
        """
        data, manifest = self._releases.read(release)
        if public_key is not None:
            check_signed(release, data, signatures_of(self._store, self._layout, release), public_key)
        folder = folder.absolute()
        if not folder.name:  # it is filled beside its place, and nothing is beside the root
            raise UsageError(f"{folder} cannot hold a release", "Name a new folder.")
        if _holds(folder, manifest, public_key):
            return manifest  # before anything is written: the folder may lie where this user only reads
        try:
            with filling(folder) as partial:
                _check_replaceable(folder, partial)
                if _holds(folder, manifest, public_key):
                    shutil.rmtree(partial)  # the fetch that this one waited for brought the same release
                    return manifest
                self._fill(partial, folder, manifest, on_bytes)
                faults = self._add_report(partial, manifest, evaluation)
                if signatures := signatures_of(self._store, self._layout, release):
                    write_durably(partial / SIGNATURES, sealed(Signatures(signatures=signatures)))
                write_durably(partial / MANIFEST, data)
                put_in_place(partial, folder)
        except OSError as error:
            raise local_error(error, folder) from error
        if faults and on_warning:
            on_warning(f"{'; '.join(faults)}. It was left out; the model is whole.")
        return manifest

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

    def _add_report(self, partial: Path, manifest: ReleaseManifest, evaluation: str | None) -> list[str]:
        """Puts the evaluation's report and model card beside the model; what is wrong with each that it left out."""
        of, release = self._evaluations, manifest.release
        try:
            found = of.manifest(release, evaluation) if evaluation else of.newest(release)
        except Damaged as error:
            return [error.what]
        faults = []
        model, there = ({file.path for file in files} for files in (manifest.files, found.files if found else ()))
        for name in BESIDE:
            if found and name in there - model:
                try:
                    write_durably(partial / name, of.file(release, found.evaluation, name))
                except Damaged as error:
                    faults.append(error.what)
        return faults


def verify_folder(
    folder: Path, on_bytes: OnBytes | None = None, public_key: Ed25519PublicKey | None = None
) -> ReleaseManifest:
    """The manifest of a fetched release whose every file is whole; Damaged names each that is not, or that does not belong.

    With `public_key`, Damaged also where that key did not sign the manifest.
    """
    try:
        return _verified(folder, on_bytes, public_key)
    except OSError as error:
        raise _unreadable(error, folder) from error


def folder_manifest(folder: Path, public_key: Ed25519PublicKey | None = None) -> ReleaseManifest:
    """What a fetched folder says of itself, its files unread; UsageError where it is none, Damaged where it contradicts itself."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _no_manifest(folder) from None
    except OSError as error:
        raise _unreadable(error, folder) from error
    manifest = parsed(ReleaseManifest, data, str(folder / MANIFEST))
    if manifest.digest != files_digest(manifest.files) or manifest.release != release_id(manifest.digest):
        raise Damaged(f"{folder / MANIFEST} contradicts itself", "Pull the release again.")
    if public_key is not None:
        check_signed(manifest.release, data, _signatures_in(folder), public_key)
    return manifest


def _verified(folder: Path, on_bytes: OnBytes | None, public_key: Ed25519PublicKey | None) -> ReleaseManifest:
    manifest = folder_manifest(folder, public_key)
    expected = {file.path: file for file in manifest.files}
    found = {file.path: file for file in describe_files(folder, {MANIFEST, SIGNATURES}, on_bytes)}
    odd = irregular_files(folder)
    faults = [f"{path} is missing" for path in expected if path not in found and path not in odd]
    faults += [f"{path} has other content" for path in expected if path in found and found[path] != expected[path]]
    faults += [f"{path} is no regular file" for path in expected if path in odd]
    strangers = [*(path for path in found if path not in BESIDE), *odd]
    faults += [f"{path} does not belong to it" for path in strangers if path not in expected]
    if faults:
        raise Damaged(f"{folder} is not release {manifest.release}: {'; '.join(faults)}", "Pull the release again.")
    return manifest


def folder_signers(folder: Path) -> list[str]:
    """Fingerprints of the keys that a fetched folder says it is signed by; verify_folder checks one."""
    return [signature.key for signature in _signatures_in(folder)]


def _signatures_in(folder: Path) -> tuple[Signature, ...]:
    path = folder / SIGNATURES
    return parsed(Signatures, path.read_bytes(), str(path)).signatures if path.is_file() else ()


def holds_model(folder: Path) -> bool:
    """Whether the folder looks like a release that was fetched, whole or not."""
    return any(is_file(folder / name) for name in (MANIFEST, "config.json")) or any(folder.glob("*.safetensors"))


def _no_manifest(folder: Path) -> Damaged | UsageError:
    if is_folder(folder) and holds_model(folder):
        return Damaged(
            f"{folder} holds a model and no {MANIFEST}, which says what release it is",
            "Pull the release again, into a new folder.",
        )
    fault = f"holds no {MANIFEST}" if is_folder(folder) else "is no folder"
    return UsageError(f"{folder} {fault}", "Name a folder that `contender pull` wrote.")


def _unreadable(error: OSError, folder: Path) -> UsageError:
    return UsageError(f"cannot read {error.filename or folder}: {error.strerror}", "Name a folder that you can read.")


def _holds(folder: Path, manifest: ReleaseManifest, public_key: Ed25519PublicKey | None) -> bool:
    try:
        return verify_folder(folder, public_key=public_key) == manifest
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
