"""From a name on the command line to a registry: REGISTRY_URL/name, or a bare name looked up where pipelines say it lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contender.errors import ContenderError, UsageError
from contender.loading import load_pipeline
from contender.registry import Registry
from contender.run import open_registry
from contender.store import open_store

DEFAULT_ALIAS = "production"


@dataclass(frozen=True)
class Target:
    registry: Registry
    name: str
    alias: str


def find(
    name: str, registry: str | None, environ: Mapping[str, str] = os.environ, folder: Path | None = None
) -> Target:
    """Resolves `REGISTRY_URL/name[@alias]` or `name[@alias]`. UsageError lists everything that was tried."""
    plain, at, alias = name.partition("@")
    alias = alias if at else DEFAULT_ALIAS
    if "/" in plain:
        url, _, bare = plain.rstrip("/").rpartition("/")
        return Target(Registry(open_store(url or "/"), bare), bare, alias)
    tried: list[str] = []
    for origin, place in (("--registry", registry), ("CONTENDER_REGISTRY", environ.get("CONTENDER_REGISTRY"))):
        if place:
            found = Registry(open_store(place), plain)
            if found.exists():
                return Target(found, plain, alias)
        tried.append(f"{origin}: {f'nothing of that name in {place}' if place else 'not set'}")
    path = (folder or Path.cwd()) / "pipelines" / f"{plain}.yaml"
    if path.is_file():
        try:
            return Target(open_registry(load_pipeline(path)), plain, alias)
        except ContenderError as error:
            tried.append(f"{path}: {error.what}")
    else:
        tried.append(f"{path}: no such file")
    raise UsageError(
        f"no registry found for {plain!r}; tried: " + "; ".join(tried), "Give REGISTRY_URL/name, or --registry URL."
    )
