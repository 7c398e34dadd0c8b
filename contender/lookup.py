"""From a NAME, on the command line or in a spec, to a registry: REGISTRY_URL/name, or a bare name looked up where pipelines say it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from contender.errors import ContenderError, UsageError
from contender.files import expanded, is_file, is_folder
from contender.loading import load_pipeline
from contender.records import AliasEntry, ReleaseManifest
from contender.registry import Registry, holds_model
from contender.registry.layout import is_release_id
from contender.registry.naming import DEFAULT_ALIAS, FORMS, name_parts
from contender.run import open_registry, open_workspace
from contender.spec import Pipeline
from contender.store import open_store
from contender.workspace import Workspace

VARIABLE = "CONTENDER_REGISTRY"


@dataclass(frozen=True)
class Target:
    """What a NAME stands for."""

    registry: Registry
    name: str
    alias: str
    named: str | None = None  # a release, where the NAME holds one in place of an alias
    single_writer: bool = False  # the pipeline's own promise about its registry

    def release(self) -> tuple[ReleaseManifest, str | None]:
        """The release that is meant, and the evaluation that made it live; UsageError where there is none."""
        if self.named is None:
            entry = self.live()
            return self.registry.named_by(entry), entry.evaluation
        return self.registry.release(self.named), self.registry.newest_evaluation(self.named)

    def live(self) -> AliasEntry:
        """The alias's live entry; UsageError naming the aliases that there are where it has none."""
        entry = self.registry.champion(self.alias)
        if entry is None:
            aliases = ", ".join(self.registry.aliases()) or "none"
            raise UsageError(
                f"{self.name}@{self.alias} names no release yet",
                f"Aliases there: {aliases}. Promote one with: contender run",
            )
        return entry


def find(
    name: str,
    registry: str | None,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    profile: str | None = None,
) -> Target:
    """Resolves `REGISTRY_URL/name` or `name`, with @alias or @release behind. UsageError lists everything that was tried.

    `profile`, of the AWS configuration, opens the registry; without one, that which a pipeline's own YAML names under `stores:`.
    """
    places = {"--registry": registry, VARIABLE: environ.get(VARIABLE)}
    return _found(name, places, (folder or Path.cwd()) / "pipelines", lambda url: profile)


def find_for(pipeline: Pipeline, name: str, environ: Mapping[str, str] = os.environ) -> Target:
    """Resolves a NAME in a pipeline's own spec: a bare one in its registry, CONTENDER_REGISTRY, or the YAML of that name beside its own.

    A folder is relative to the YAML, and the spec's `stores:` say how a URL is reached. UsageError lists everything that was tried.
    """
    places = {"promote.to": pipeline.path(pipeline.spec.promote.to), VARIABLE: environ.get(VARIABLE)}
    url, _, _ = name_parts(name)
    if url is not None and "://" not in url:
        name = f"{pipeline.path(url)}/{name.rstrip('/').rpartition('/')[2]}"
    return _found(name, places, Path(pipeline.folder), pipeline.spec.profile)


def _found(
    name: str, places: Mapping[str, str | None], pipelines: Path, profile_of: Callable[[str], str | None]
) -> Target:
    url, plain, at = name_parts(name)
    release = at if at and is_release_id(at) else None
    alias = at if release is None else None
    found = (
        _in_url(url, plain, alias, profile_of(url))
        if url is not None
        else _by_name(plain, alias, places, pipelines, profile_of)
    )
    return replace(found, named=release)


def find_pair(a: str, b: str, registry: str | None, profile: str | None = None) -> tuple[Target, Target]:
    """Two releases of which something is asked: the second may be a release alone, of the first one's pipeline."""
    first = find(a, registry, profile=profile)
    return first, replace(first, named=b) if is_release_id(b) else find(b, registry, profile=profile)


def folder_or_target(
    name: str,
    registry: str | None,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    profile: str | None = None,
) -> Path | Target:
    """What `verify` was given: a folder that was pulled, also where it lost its contender.json, or a NAME.

    A folder without anything of a model may be a registry's own, or happen to be called like a pipeline: the NAME goes first.
    """
    path = Path(name)
    if not name or not is_folder(path):
        return find(name, registry, environ, folder, profile)
    if holds_model(path):
        return path
    try:
        return find(name, registry, environ, folder, profile)
    except UsageError:
        return path


def _in_url(url: str, plain: str, alias: str | None, profile: str | None) -> Target:
    found = Registry(open_store(url, profile), plain)
    if not found.exists():
        raise UsageError(f"there is no pipeline {plain!r}; tried: nothing of that name in {url}", FORMS)
    return Target(found, plain, alias or DEFAULT_ALIAS)


def _by_name(
    plain: str,
    alias: str | None,
    places: Mapping[str, str | None],
    pipelines: Path,
    profile_of: Callable[[str], str | None],
) -> Target:
    tried: list[str] = []
    for origin, place in places.items():
        if place:
            found = Registry(open_store(place, profile_of(place)), plain)
            if found.exists():
                return Target(found, plain, alias or DEFAULT_ALIAS)
        tried.append(f"{origin}: {f'nothing of that name in {place}' if place else 'not set'}")
    path = pipelines / f"{plain}.yaml"
    if is_file(path):
        try:
            pipeline = load_pipeline(path)
            promote = pipeline.spec.promote
            found = open_registry(pipeline, profile_of(promote.to))
            return Target(found, pipeline.spec.name, alias or promote.alias, single_writer=promote.single_writer)
        except ContenderError as error:
            tried.append(f"{path}: {error.what}")
    else:
        tried.append(f"{path}: no such file")
    raise UsageError(f"no registry found for {plain!r}; tried: {'; '.join(tried)}", FORMS)


def workspace_of(place: str) -> Workspace:
    """A workspace by a pipeline's YAML, or by its folder on this machine."""
    path = Path(expanded(place))
    if place.startswith("s3://"):
        raise UsageError(
            f"{place} is no folder of this machine",
            "Name the pipeline's YAML to clean this machine's copy; under the prefix a lifecycle rule removes what is old.",
        )
    if is_folder(path):
        return Workspace(path)
    if not is_file(path):
        raise UsageError(f"{path} does not exist", "Name a pipeline's YAML, or the folder of its workspace:.")
    workspace = open_workspace(load_pipeline(path))
    if not is_folder(workspace.root):
        raise UsageError(f"{path} has no workspace on this machine yet: {workspace.root}", "Start with: contender run")
    return workspace
