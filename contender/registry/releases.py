"""Releases: model files that never change once their manifest stands, and how they travel."""

from __future__ import annotations

from pathlib import Path

from contender.errors import AlreadyExists, Damaged, Missing, ModelError, UsageError, known
from contender.files import describe_files, irregular_files, sha256_file, stays_inside
from contender.records import FileEntry, ReleaseDraft, ReleaseManifest, sha256_hex
from contender.registry.layout import Layout, files_digest, now, parsed, release_id
from contender.store import Store
from contender.store.transfer import OnBytes, at_once, fault_of, send

# Formats that run code when they are loaded, and files that differ between identical trainings.
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".py", ".pyc"}


class Releases:
    """The releases of one pipeline."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def stage(
        self, model: Path, draft: ReleaseDraft, train_keys: Path | None = None, on_bytes: OnBytes | None = None
    ) -> ReleaseManifest:
        """The release of the files in `model`, whole in the store: files first, read back, the manifest last.

        The same files are the same release: what is there already is not sent again, and the manifest that stands is returned.
        `on_bytes` gets bytes as they are sent or found. Raises ModelError for files that no release may hold or nobody can read.
        """
        try:
            return self._stage(model, draft, train_keys, on_bytes)
        except OSError as error:  # the store's own errors are errors of the store
            raise ModelError(
                f"cannot read {error.filename or model}: {error.strerror}",
                "Leave the model's files alone while they are staged.",
            ) from error

    def _stage(
        self, model: Path, draft: ReleaseDraft, train_keys: Path | None, on_bytes: OnBytes | None
    ) -> ReleaseManifest:
        files = model_files(model)
        release = release_id(files_digest(files))
        standing = self._standing(release)
        pairs = [(self._layout.model(release, file.path), model / file.path, file) for file in files]
        keys = self._keys_entry(train_keys, standing)
        if train_keys and keys:
            pairs.append((self._layout.train_keys(release), train_keys, keys))
        there = {info.key: info.size for info in self._store.list(self._layout.release(release))}
        send(self._store, pairs, there, on_bytes)
        if standing:
            return standing
        manifest = ReleaseManifest(
            **draft.model_dump(),
            release=release,
            digest=files_digest(files),
            files=files,
            train_keys=keys,
            created=now(),
        )
        try:
            self._store.create(self._layout.manifest(release), manifest.to_bytes())
        except AlreadyExists:
            return self.release(release)
        return manifest

    def release(self, release: str) -> ReleaseManifest:
        """The release's manifest, consistent in itself; UsageError naming the known ones where there is none."""
        key = self._layout.manifest(release)
        try:
            data = self._store.get(key)
        except Missing:
            raise UsageError(
                f"{self._layout.pipeline} has no release: {known('release', release, self.names())}",
                "Name one of these.",
            ) from None
        return checked(parsed(ReleaseManifest, data, key), release, key)

    def releases(self) -> list[ReleaseManifest]:
        """Every whole release, oldest first."""
        return sorted(at_once(self.release, self.names(), threads=8), key=lambda found: (found.created, found.release))

    def names(self) -> list[str]:
        """Ids of the releases whose manifest stands."""
        root = f"{self._layout.pipeline}/releases/"
        keys = (info.key.removeprefix(root).split("/") for info in self._store.list(root))
        return [parts[0] for parts in keys if parts[1:] == ["manifest.json"]]

    def faults(self, manifest: ReleaseManifest) -> list[str]:
        """Reads every file of the release back: what is wrong with each that is not what the manifest says."""
        release = manifest.release
        pairs = [(self._layout.model(release, file.path), file) for file in manifest.files]
        if manifest.train_keys:
            pairs.append((self._layout.train_keys(release), manifest.train_keys))
        return [fault for fault in at_once(lambda pair: fault_of(self._store, *pair), pairs) if fault]

    def train_keys(self, release: str) -> bytes | None:
        """The parquet file of hashed keys that the release trained on; None where its manifest names none."""
        expected = self.release(release).train_keys
        if expected is None:
            return None
        try:
            data = self._store.get(self._layout.train_keys(release))
        except Missing:
            raise damaged(release, [f"{expected.path} is missing"]) from None
        if file_entry(expected.path, data) != expected:
            raise damaged(release, [f"{expected.path} has other content"])
        return data

    def _standing(self, release: str) -> ReleaseManifest | None:
        key = self._layout.manifest(release)
        try:
            return checked(parsed(ReleaseManifest, self._store.get(key), key), release, key)
        except Missing:
            return None

    def _keys_entry(self, train_keys: Path | None, standing: ReleaseManifest | None) -> FileEntry | None:
        """What the manifest says of the train keys; None where the manifest that stands has others, which are left alone."""
        if train_keys is None:
            return None
        entry = FileEntry(path="train_keys.parquet", size=train_keys.stat().st_size, sha256=sha256_file(train_keys))
        return None if standing and standing.train_keys != entry else entry


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


def checked(manifest: ReleaseManifest, release: str, key: str) -> ReleaseManifest:
    """The manifest itself; Damaged where its parts contradict each other or a path leads out of the release."""
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
