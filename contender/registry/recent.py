"""The newest records of a registry, for people: bounded however long the log is, and what cannot be read is told, not raised."""

from __future__ import annotations

from contender.records import AliasEntry, Decision
from contender.registry.decisions import readable_ones
from contender.registry.layout import Layout, parsed
from contender.store import ObjectInfo, Store


class Recent:
    """What was decided and made live last, of one pipeline. A promotion rests on `Registry.log` and `Registry.decisions` instead."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def decisions(self, most: int) -> tuple[list[Decision], list[str]]:
        """The `most` decisions that were written last, oldest first, and what is wrong with those that cannot be read."""
        # The store says when each was written; where it was filled from a backup, that is only nearly the order.
        infos = sorted(self._infos(f"{self._layout.pipeline}/decisions/"), key=lambda info: info.modified)
        found, faults = readable_ones(
            lambda key: parsed(Decision, self._store.get(key), key), [info.key for info in infos[-most:]]
        )
        return sorted(found, key=lambda decision: decision.at[:23]), faults

    def entries(self, alias: str, most: int) -> tuple[list[AliasEntry], list[str]]:
        """The alias's `most` newest entries, oldest first, and what is wrong with those that cannot be read."""
        keys = [info.key for info in self._infos(self._layout.alias(alias))]
        return readable_ones(lambda key: parsed(AliasEntry, self._store.get(key), key), keys[-most:])

    def _infos(self, folder: str) -> list[ObjectInfo]:
        return [info for info in self._store.list(folder) if info.key.endswith(".json")]
