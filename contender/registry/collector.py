"""The garbage collector: removes releases that nothing needs, beside others that promote, roll back and stage.

For each release: its mark first, then claims, then every alias's log; only then the manifest, the files, and the mark. See
contender/registry/claims.py for why nobody can come to rely on a release in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Literal

from pydantic import Field

from contender.records import Record
from contender.registry.aliases import AliasLog, alias_names
from contender.registry.claims import Claims
from contender.registry.layout import Layout, is_name
from contender.registry.releases import STAGED
from contender.store import ObjectInfo, Store
from contender.store.base import Unfinished

UNFINISHED_SECONDS = 24 * 3600  # files without a manifest, and uploads in parts: one that goes on is younger


class Garbage(Record):
    """A release that nothing needs, the files of one that was never finished, or parts of an upload that was cut off."""

    release: str
    what: Literal["release", "unfinished", "upload"]
    size: int = Field(description="bytes")
    age: float = Field(description="seconds since it was last staged")


class Collected(Garbage):
    """What came of a collection: why it was kept after all, empty where it is gone."""

    kept: str = ""


class Collector:
    """Collects the releases of one pipeline. `keep`: of each alias, that many distinct releases up to the live one stay.

    `remembered`: aliases that once had an entry; where one's log is gone, nobody knows what is needed.
    """

    def __init__(
        self,
        store: Store,
        layout: Layout,
        log: Callable[[str], AliasLog],
        remembered: set[str],
        keep: int,
        older_than: float,
    ) -> None:
        self._store = store
        self._layout = layout
        self._log = log
        self._remembered = remembered
        self._claims = Claims(store, layout)
        self._keep = max(keep, 1)
        self._older_than = older_than

    def garbage(self) -> list[Garbage]:
        """What could go now, the largest first. Damaged where a log is not whole: then nobody knows what is needed."""
        needed = self._needed()
        objects = self._store.list(f"{self._layout.pipeline}/releases/")
        found = [
            garbage
            for release, group in groupby(objects, key=lambda info: self._release_of(info.key))
            if release not in needed and is_name(release) and (garbage := self._judged(release, list(group)))
        ]
        found += [
            Garbage(release=self._release_of(one.key), what="upload", size=0, age=time.time() - one.started)
            for one in self._unfinished()
        ]
        return sorted(found, key=lambda one: (-one.size, one.release))

    def collect(self, on_collected: Callable[[Collected], None] | None = None) -> list[Collected]:
        """Removes what is garbage; what came of each."""
        done = []
        for release in self._needed():
            if self._claims.marked(release) and self._claims.put_mark(release):
                self._claims.remove_mark(release)  # a collector died over it, and it is needed again
        found = self.garbage()
        for upload in self._unfinished():
            self._store.abort(upload)
        for one in found:
            kept = self._collect(one.release) if one.what != "upload" else ""
            done.append(Collected(**one.model_dump(), kept=kept))
            if on_collected:
                on_collected(done[-1])
        return done

    def _collect(self, release: str) -> str:
        """Removes the release; why it stays, where it does. An error leaves the mark: the next collection goes on."""
        if not self._claims.put_mark(release):
            return "another gc is removing it"
        why = "it is about to be used" if self._claims.standing(release) else ""
        why = why or ("an alias names it now" if release in self._needed() else "")
        objects = list(self._store.list(self._layout.release(release)))
        why = why or ("" if self._judged(release, objects) else "it was staged again")
        if why:
            self._claims.remove_mark(release)
            return why
        manifest, mark = self._layout.manifest(release), self._layout.mark(release)
        self._store.delete(manifest)
        for info in objects:
            if info.key not in (manifest, mark):
                self._store.delete(info.key)
        self._claims.remove_mark(release)
        return ""

    def _judged(self, release: str, objects: list[ObjectInfo]) -> Garbage | None:
        """The release as garbage, where it is old enough."""
        manifest = self._layout.manifest(release)
        whole = any(info.key == manifest for info in objects)
        of_age = {manifest, self._layout.beside(release, STAGED)}
        mark = self._layout.mark(release)
        times = [info.modified for info in objects if (info.key in of_age if whole else info.key != mark)]
        age = time.time() - max(times, default=0.0)
        if age < (self._older_than if whole else max(self._older_than, UNFINISHED_SECONDS)):
            return None
        return Garbage(
            release=release,
            what="release" if whole else "unfinished",
            size=sum(info.size for info in objects),
            age=age,
        )

    def _unfinished(self) -> Iterator[Unfinished]:
        """Uploads in parts that nobody goes on with."""
        return self._store.unfinished(f"{self._layout.pipeline}/releases/", UNFINISHED_SECONDS)

    def _release_of(self, key: str) -> str:
        return key.removeprefix(f"{self._layout.pipeline}/releases/").partition("/")[0]

    def _needed(self) -> set[str]:
        aliases = self._remembered.union(alias_names(self._store, self._layout))
        return {release for alias in aliases for release in self._last(self._log(alias))}

    def _last(self, log: AliasLog) -> Iterator[str]:
        """The last `keep` distinct releases of an alias."""
        seen = set[str]()
        for n in reversed(log.numbers()):
            release = log.entry(n).release
            if release not in seen:
                seen.add(release)
                yield release
            if len(seen) == self._keep:
                return
