"""Releases of which the manifest alone is there: enough to become live, where nothing loads a model."""

from __future__ import annotations

from contender.records import FileEntry, ReleaseManifest
from contender.registry import Registry
from contender.registry.layout import files_digest, release_id, sealed


def manifest(name: str) -> ReleaseManifest:
    """A release whose id follows from the name."""
    files = (FileEntry(path="model.safetensors", size=1, sha256=name),)
    found = files_digest(files)
    return ReleaseManifest(kind="k", columns={}, release=release_id(found), digest=found, files=files, created="now")


def standing(registry: Registry, name: str) -> ReleaseManifest:
    """The same, with its manifest in the registry."""
    release = manifest(name)
    registry._store.put(f"{registry.pipeline}/releases/{release.release}/manifest.json", sealed(release))
    return release
