"""What is written once per pipeline: decisions, and the split's definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from contender.errors import AlreadyExists, Damaged, Missing
from contender.records import AliasEntry, Decision, Record, SplitDefinition
from contender.registry.layout import Layout, number_of, numbered, parsed, sealed
from contender.store import ObjectInfo, Store
from contender.store.transfer import at_once

R = TypeVar("R", bound=Record)
READ_AT_ONCE = 8


class Decisions:
    """The record that every finished run left."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._folder = f"{layout.pipeline}/decisions/"

    def decide(self, decision: Decision) -> Decision:
        """The decision that stands under this key: this one, or the one that was first."""
        key = self._layout.decision(decision.key)
        try:
            self._store.create(key, sealed(decision))
        except AlreadyExists:
            return parsed(Decision, self._store.get(key), key)
        return decision

    def all(self, prefix: str = "") -> list[Decision]:
        """Every decision whose key starts with `prefix`, in the order of the keys."""
        return at_once(self._read, self._keys(prefix), READ_AT_ONCE)

    def readable(self) -> tuple[list[Decision], list[str]]:
        """Every decision that can be read, in the order of the keys, and for each other one what is wrong with it.

        For people alone: what is decided on these grounds asks `all`, which fails where one is damaged.
        """

        return readable_ones(self._read, self._keys())

    def newest(self) -> Decision | None:
        """The decision that was made last, whatever it was made on; a superseded one is none.

        Few are read: the store says when each was written. Where it was filled from a backup, that is only nearly the order.
        """
        infos = sorted(self._infos(), key=lambda info: info.modified, reverse=True)
        for start in range(0, len(infos), READ_AT_ONCE):
            found = at_once(self._read, [info.key for info in infos[start : start + READ_AT_ONCE]], READ_AT_ONCE)
            standing = [decision for decision in found if decision.outcome != "superseded"]
            if standing:
                return max(standing, key=lambda decision: decision.at)
        return None

    def _infos(self, prefix: str = "") -> list[ObjectInfo]:
        return [info for info in self._store.list(self._folder + prefix) if info.key.endswith(".json")]

    def _keys(self, prefix: str = "") -> list[str]:
        return [info.key for info in self._infos(prefix)]

    def _read(self, key: str) -> Decision:
        return parsed(Decision, self._store.get(key), key)

    def name_an_entry_of(self, alias: str) -> bool:
        """Whether any run saw or made an entry of the alias; asked where the alias's log is empty."""
        return any(found.alias == alias and (found.judged_against or found.alias_entry) for found in self.all())


def in_time(decisions: Sequence[Decision], entries: Sequence[AliasEntry]) -> list[Decision | AliasEntry]:
    """What runs decided, and the entries that no readable decision made, a person's most often, in the order of time."""
    decided = {decision.key for decision in decisions}
    by_hand = [entry for entry in entries if entry.decision not in decided]
    # Milliseconds are written with and without a zone's letter: the part before is comparable.
    return sorted([*decisions, *by_hand], key=lambda one: one.at[:23])


def readable_ones(read: Callable[[str], R], keys: list[str]) -> tuple[list[R], list[str]]:
    """What can be read, in the order of the keys, and what is wrong with each other one."""

    def one(key: str) -> R | str:
        try:
            return read(key)
        except (Damaged, Missing) as error:
            return error.what

    found = at_once(one, keys, READ_AT_ONCE)
    return [entry for entry in found if not isinstance(entry, str)], [
        fault for fault in found if isinstance(fault, str)
    ]


def freeze_split(store: Store, layout: Layout, definition: SplitDefinition) -> SplitDefinition:
    """The definition that stands for the pipeline: the newest one in the registry, else this one from now on."""
    standing = standing_split(store, layout)
    if standing:
        return standing
    key = numbered(layout.splits(), 1)
    try:
        store.create(key, sealed(definition))
    except AlreadyExists:
        return parsed(SplitDefinition, store.get(key), key)
    return definition


def standing_split(store: Store, layout: Layout) -> SplitDefinition | None:
    """The newest definition in the registry."""
    return next(reversed(numbered_entries(store, layout.splits(), SplitDefinition)), None)


def numbered_entries(store: Store, folder: str, record: type[R]) -> list[R]:
    """Entries 1, 2, 3, … of a folder; Damaged where one is missing or names another number."""
    numbers = [number_of(folder, info.key) for info in store.list(folder)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Damaged(
            f"{folder} has a gap: entries {numbers[:20]}", "Entries are never deleted: restore them from a backup."
        )
    keys = [numbered(folder, n) for n in numbers]
    return at_once(lambda key: parsed(record, store.get(key), key), keys, threads=8)
