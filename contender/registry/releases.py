"""Releases: model files that never change once their manifest stands, and how they travel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contender.errors import AlreadyExists, Damaged, Missing, ModelError, StoreError, UsageError, known
from contender.files import describe_files, irregular_files, sha256_file, stays_inside
from contender.records import AliasEntry, FileEntry, ReleaseDraft, ReleaseManifest, sha256_hex
from contender.registry.claims import Claims
from contender.registry.layout import Layout, files_digest, now, parsed, release_id, sealed
from contender.store import Store
from contender.store.transfer import OnBytes, at_once, fault_of, send

STAGED = "staged"  # written whenever the release is staged again
# Formats that run code when they are loaded, and files that differ between identical trainings.
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".py", ".pyc"}


class Releases:
    """The releases of one pipeline."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._claims = Claims(store, layout)

    def stage(
        self, model: Path, draft: ReleaseDraft, beside: Mapping[str, Path], on_bytes: OnBytes | None = None
    ) -> ReleaseManifest:
        """The release of the files in `model`, whole in the store: files first, verified, the manifest last.

        The same files are the same release: what is there already is not sent again, and the manifest that stands is returned.
        `beside`: name → file that is no part of the model. `on_bytes` gets bytes as they are sent or found. Raises ModelError for
        files that no release may hold or nobody can read, BeingDeleted where a garbage collector removes this very release.
        """
        try:
            files = model_files(model)
            with self._claims.held(release_id(files_digest(files)), "stage"):
                return self._stage(model, files, draft, beside, on_bytes)
        except OSError as error:  # the store's own errors are errors of the store
            raise ModelError(
                f"cannot read {error.filename or model}: {error.strerror}",
                "Leave the model's files alone while they are staged.",
            ) from error

    def _stage(
        self,
        model: Path,
        files: tuple[FileEntry, ...],
        draft: ReleaseDraft,
        beside: Mapping[str, Path],
        on_bytes: OnBytes | None,
    ) -> ReleaseManifest:
        release = release_id(files_digest(files))
        standing = self._standing(release)
        pairs = [(self._layout.model(release, file.path), model / file.path, file) for file in files]
        others = [
            FileEntry(path=name, size=path.stat().st_size, sha256=sha256_file(path)) for name, path in beside.items()
        ]
        if standing:  # what it says of the others stands, too
            others = [file for file in others if file in standing.beside]
        pairs += [(self._layout.beside(release, file.path), beside[file.path], file) for file in others]
        there = {info.key: info.size for info in self._store.list(self._layout.release(release))}
        # Staging a release that stands is how a damaged one is repaired: digests of what once arrived would not tell.
        send(self._store, pairs, there, on_bytes, thorough=standing is not None)
        if standing:
            # Its age is what keeps a release that is not live yet: it counts from here again.
            self._store.put(self._layout.beside(release, STAGED), now().encode())
            return standing
        manifest = ReleaseManifest(
            **draft.model_dump(),
            release=release,
            digest=files_digest(files),
            files=files,
            beside=tuple(others),
            created=now(),
        )
        try:
            self._store.create(self._layout.manifest(release), sealed(manifest))
        except AlreadyExists:
            return self.release(release)
        return manifest

    def release(self, release: str) -> ReleaseManifest:
        """The release's manifest, consistent in itself; UsageError naming the known ones where there is none."""
        return self.read(release)[1]

    def read(self, release: str) -> tuple[bytes, ReleaseManifest]:
        """The manifest as it is stored, which is what signatures cover, and what it says; errors as in `release`."""
        key = self._layout.manifest(release)
        try:
            data = self._store.get(key)
        except Missing:
            raise UsageError(
                f"{self._layout.pipeline} has no release: {known('release', release, self.names())}",
                "Name one of these.",
            ) from None
        return data, checked(data, release, key)

    def check_standing(self, release: str, digest: str) -> None:
        """StoreError unless the release is whole enough to become live: its manifest stands, and is the one that was meant."""
        standing = self._standing(release)
        if standing is None or standing.digest != digest:
            raise StoreError(
                f"release {release} of {self._layout.pipeline} was removed before it could become live",
                "Run the same command again: what was trained is staged anew.",
            )

    def named_by(self, entry: AliasEntry) -> ReleaseManifest:
        """The manifest of the release that the entry made live; Damaged where it is gone, or another one."""
        standing = self._standing(entry.release)
        if standing is None or standing.digest != entry.digest:
            raise Damaged(
                f"{self._layout.manifest(entry.release)} is missing, and entry {entry.n} of an alias names that release",
                f"Restore it from a backup, or make another release live: contender rollback {self._layout.pipeline}",
            )
        return standing

    def releases(self) -> list[ReleaseManifest]:
        """Every whole release, oldest first."""
        return sorted(at_once(self.release, self.names(), threads=8), key=lambda found: (found.created, found.release))

    def names(self) -> list[str]:
        """Ids of the releases whose manifest stands."""
        root = f"{self._layout.pipeline}/releases/"
        keys = (info.key.removeprefix(root).split("/") for info in self._store.list(root))
        return [parts[0] for parts in keys if parts[1:] == ["manifest.json"]]

    def faults(self, manifest: ReleaseManifest, on_bytes: OnBytes | None = None) -> list[str]:
        """Reads every file of the release back: what is wrong with each that is not what the manifest says."""
        release = manifest.release
        pairs = [(self._layout.model(release, file.path), file) for file in manifest.files]
        pairs += [(self._layout.beside(release, file.path), file) for file in manifest.beside]
        return [fault for fault in at_once(lambda pair: fault_of(self._store, *pair, on_bytes), pairs) if fault]

    def beside(self, release: str, name: str) -> bytes | None:
        """A file beside the release's model, checked; None where its manifest names none of that name."""
        expected = {file.path: file for file in self.release(release).beside}.get(name)
        if expected is None:
            return None
        try:
            data = self._store.get(self._layout.beside(release, name))
        except Missing:
            raise damaged(release, [f"{name} is missing"]) from None
        if file_entry(name, data) != expected:
            raise damaged(release, [f"{name} has other content"])
        return data

    def _standing(self, release: str) -> ReleaseManifest | None:
        key = self._layout.manifest(release)
        try:
            return checked(self._store.get(key), release, key)
        except Missing:
            return None


def model_files(model: Path) -> tuple[FileEntry, ...]:
    """What a release of this folder holds; ModelError where that would be nothing, code, a pickle or a link."""
    if not model.is_dir():
        raise ModelError(
            f"{model} is no folder with a model", "Name the folder that holds config.json and model.safetensors."
        )
    odd = irregular_files(model)
    if odd:
        raise ModelError(
            f"{model} holds what is no regular file: {', '.join(odd[:5])}", "Copy the files themselves there."
        )
    files = describe_files(model)
    if not files:
        raise ModelError(f"{model} is empty", "A release holds config.json and model.safetensors.")
    unsafe = [file.path for file in files if Path(file.path).suffix.lower() in UNSAFE]
    if unsafe:
        raise ModelError(
            f"{model} holds files that can run code when they are loaded: {', '.join(unsafe[:5])}",
            "Save as safetensors.",
        )
    return files


def checked(data: bytes, release: str, key: str) -> ReleaseManifest:
    """The manifest that was read; Damaged where its parts contradict each other or a path leads out of the release."""
    manifest = parsed(ReleaseManifest, data, key)
    honest = manifest.release == release and manifest.digest == files_digest(manifest.files)
    if (
        not honest
        or release_id(manifest.digest) != release
        or not all(stays_inside(file.path) for file in manifest.files)
    ):
        raise Damaged(
            f"{key} does not describe release {release}", "It was changed after it was written: stage the model again."
        )
    return manifest


def damaged(release: str, faults: list[str]) -> Damaged:
    return Damaged(
        f"release {release} is damaged: {'; '.join(faults)}",
        "Stage the same model again to repair it, or use another release.",
    )


def file_entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(data), sha256=sha256_hex(data))
