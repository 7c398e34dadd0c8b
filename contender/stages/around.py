"""A search around the champion: whether there is one to search around, and the run whose space is narrowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contender.around import Around, SearchAround, options_of, search_around
from contender.progress import Note, tell
from contender.records import ReleaseManifest
from contender.run import Run
from contender.searchspec import Search
from contender.shareable import shareable

if TYPE_CHECKING:
    from contender.models import ResolvedBase


def around_champion(run: Run, base: ResolvedBase, champion: ReleaseManifest | None) -> Run:
    """The run with its search around what is live, where the spec asks for it and there is such a release; else the run as it is."""
    spec, search = run.pipeline.spec, run.pipeline.spec.search
    if search is None or search.around is None:
        return run
    if champion is None:
        return _as_without(run, "there is no champion yet")
    if why := _stranger(run, search, base, champion):
        return _as_without(run, f"{champion.release} {why}")
    options = options_of(champion.lineage)
    found = search_around(search, champion.release, options, tried=not _says_the_same(run, champion, search))
    if found is None:
        return _as_without(run, f"{champion.release} has no options that search.space allows")
    outside = sorted(key for key in search.space if key in options and key not in found.found.values)
    left = f"; {', '.join(f'{key} {options[key]}' for key in outside)}: not in the space" if outside else ""
    tell(Note("search", "said", f"{found.found.text}{left}"))
    return run.with_spec(spec.model_copy(update={"search": found}))


def found_around(search: Search) -> Around | None:
    """The champion that a search is around."""
    return search.found if isinstance(search, SearchAround) else None


def _as_without(run: Run, why: str) -> Run:
    tell(Note("search", "warned", f"not around the champion: {why}"))
    return run


def _stranger(run: Run, search: Search, base: ResolvedBase, champion: ReleaseManifest) -> str:
    """Why another model's options say nothing of this one's; empty where they do."""
    spec, lineage = run.pipeline.spec, champion.lineage
    if champion.kind != spec.task:
        return f"is of task {champion.kind}"
    if base.digest != lineage.get("base_digest") and shareable(str(spec.model.base)) != lineage.get("base"):
        return f"was trained from another base, {lineage.get('base')}"
    if lineage.get("init") != spec.model.init:
        return f"was trained with init {lineage.get('init')}"
    method, space = lineage.get("method"), search.space.get("model.method")
    if method not in (space.ends if space else (spec.model.method,)):
        return f"was trained by method {method}"
    return ""


def _says_the_same(run: Run, champion: ReleaseManifest, search: Search) -> bool:
    """Whether its spec had the values of this one in every key of the space, `auto` among them: then the first trial is the same."""
    told: Any = champion.lineage.get("spec") or {}
    own = run.pipeline.spec.model_dump(mode="json")
    return all(_at(told, key) == _at(own, key) for key in search.space)


def _at(spec: Any, key: str) -> Any:
    for name in key.split("."):
        spec = spec.get(name) if isinstance(spec, dict) else None
    return spec
