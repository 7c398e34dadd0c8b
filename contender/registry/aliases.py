"""An alias: an append-only log of create-only entries, whose highest number names the live release.

Nothing here overwrites an entry or writes to a number that it chose by reading. Reading fails closed: a log that has a gap, is
shorter than its copy says, or is empty while something remembers an entry, is damaged, not "no champion".
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from contender.errors import (
    AliasMoved,
    AlreadyExists,
    ContenderError,
    Damaged,
    Missing,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
    UsageError,
    Withdrawn,
)
from contender.records import AliasEntry, ReleaseManifest
from contender.registry.layout import Layout, is_name, now, number_of, numbered, parsed, release_id, sealed
from contender.store import Store
from contender.store.transfer import at_once

log = logging.getLogger(__name__)


class Said(TypedDict):
    """What is said of a move: why, by whom, and what it rests on."""

    reason: str
    actor: str
    evaluation: NotRequired[str | None]
    verdict: NotRequired[dict[str, Any] | None]


class AliasLog:
    """The log of one alias of one pipeline.

    `remembered` answers whether a decision names an entry of this alias; it is asked only where the log is empty. `patience` is how
    many seconds a promotion repeats itself against a store that does not answer.
    """

    def __init__(
        self, store: Store, layout: Layout, alias: str, remembered: Callable[[], bool], patience: float = 20.0
    ) -> None:
        self.alias = alias
        self._store = store
        self._folder = layout.alias(alias)
        self._copy = layout.alias_copy(alias)
        self._remembered = remembered
        self._patience = patience

    def entry(self, n: int) -> AliasEntry:
        """Entry n, which must be there."""
        return self._entry(n)

    def entries(self) -> list[AliasEntry]:
        """Every entry from 1 on; Damaged where one is missing, changed, or known from elsewhere."""
        return at_once(self._entry, self.numbers(), threads=8)

    def numbers(self) -> list[int]:
        """The numbers of all entries, from 1 on, unread; Damaged where one is missing."""
        return self._listed(1, self._read_copy(), after="")

    def newest(self) -> AliasEntry | None:
        """The live entry, None where the alias never had one. Costs the same for a long log as for a short one."""
        copy = self._read_copy()
        first = copy.n if copy else 1
        # The copy is a hint: listing starts at its own entry, which must be there.
        numbers = self._listed(first, copy, after=numbered(self._folder, first - 1))
        return self._entry(numbers[-1]) if numbers else None

    def ends_at(self, n: int) -> bool:
        """Whether entry `n` is the newest, by one listing. False also where the log is damaged: `newest` says how."""
        return self._numbers(after=numbered(self._folder, n - 1)) == [n]

    def next(
        self,
        expected: int,
        manifest: ReleaseManifest,
        *,
        action: Literal["promote", "rollback"] = "promote",
        by_hand: bool = False,
        **said: Unpack[Said],
    ) -> AliasEntry:
        """The entry `expected` + 1 that would make the release live, for `append`.

        Raises AliasMoved where that number is somebody else's, Damaged where entry `expected` is not there, and Withdrawn where a
        rollback left this release and nobody promotes it by hand.
        """
        newest = self.newest()
        if (newest.n if newest else 0) > expected:
            raise self._moved(expected)
        if (newest.n if newest else 0) < expected:
            raise Damaged(
                f"entry {expected} of alias {self.alias!r} is not in {self._folder}",
                "Entries were lost: restore the folder.",
            )
        withdrawn = set(newest.withdrawn) if newest else set()
        if manifest.release in withdrawn and not by_hand:
            raise Withdrawn(
                f"a rollback of alias {self.alias!r} took {manifest.release} back",
                "Only contender promote brings it back.",
            )
        if newest and action == "rollback":
            withdrawn.add(newest.release)
        return AliasEntry(
            n=expected + 1,
            action=action,
            release=manifest.release,
            digest=manifest.digest,
            previous=newest.release if newest else None,
            writer=secrets.token_hex(16),
            withdrawn=tuple(sorted(withdrawn - {manifest.release})),
            at=now(),
            **said,
        )

    def append(self, entry: AliasEntry) -> AliasEntry:
        """Creates the entry, and brings the copy up to date; an entry that is there already is as good.

        Raises AliasMoved where its number is somebody else's, and OutcomeUnknown where the store does not say.
        """
        self._create(entry)
        self.repair_copy(entry)
        return entry

    def _create(self, entry: AliasEntry) -> None:
        """A number once tried is not abandoned: the same entry is repeated until it is there, or another's."""
        key, data = numbered(self._folder, entry.n), sealed(entry)
        deadline = time.monotonic() + self._patience
        pause = 0.2
        while True:
            try:
                return self._store.create(key, data)
            except AlreadyExists:
                raise self._moved(entry.n - 1) from None
            except StoreUnavailable as error:
                if time.monotonic() + pause > deadline:
                    raise OutcomeUnknown(
                        f"nobody can say whether {entry.release} became entry {entry.n} of alias {self.alias!r}: {error.what}",
                        f"The write may still land. When the store answers, see the history, or repeat with --expect {entry.n - 1}.",
                    ) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _moved(self, expected: int) -> AliasMoved:
        try:
            winner = self._entry(expected + 1)
            who = f": entry {winner.n} names {winner.release}, written by {winner.actor} at {winner.at}"
        except ContenderError:
            who = ""
        return AliasMoved(
            f"alias {self.alias!r} moved beyond entry {expected}{who}",
            "Evaluate against the new champion and judge again.",
        )

    def _listed(self, first: int, copy: AliasEntry | None, after: str) -> list[int]:
        """Numbers of the entries behind the key `after`, from `first` on; Damaged where they are not the end of a whole log.

        `copy` was read before: what it names must be listed. What else remembers an entry is asked where nothing is listed, and
        then it is listed again: a first promotion may have come in between.
        """
        numbers = self._numbers(after)
        if not numbers and (memory := self._memory()):
            numbers = self._numbers(after)
            if not numbers:
                raise self._emptied(memory)
        if numbers != list(range(first, first + len(numbers))):
            raise Damaged(
                f"the log of alias {self.alias!r} has a gap behind entry {_before_gap(numbers, first)}",
                f"Restore {self._folder} from a backup; which release is live is unknown until then.",
            )
        if copy and (numbers[-1] if numbers else 0) < copy.n:
            raise self._emptied(f"{self._copy} knows entry {copy.n}")
        return numbers

    def _numbers(self, after: str) -> list[int]:
        return [number_of(self._folder, info.key) for info in self._store.list(self._folder, after=after)]

    def _memory(self) -> str:
        """What knows of an entry, beside the log; empty where nothing does."""
        if self._store_has_copy():
            return f"{self._copy} is there"
        return "decisions name entries of it" if self._remembered() else ""

    def _emptied(self, but: str) -> Damaged:
        return Damaged(
            f"the log of alias {self.alias!r} is shorter than it was: {but}",
            f"Restore {self._folder} from a backup; which release is live is unknown until then.",
        )

    def _entry(self, n: int) -> AliasEntry:
        key = numbered(self._folder, n)
        try:
            entry = parsed(AliasEntry, self._store.get(key), key)
        except Missing:
            raise Damaged(
                f"{key} was listed and is gone", "Entries are never deleted: restore it from a backup."
            ) from None
        if entry.n != n or entry.release != release_id(entry.digest):
            raise Damaged(f"{key} contradicts itself", "It was changed after it was written: restore it from a backup.")
        return entry

    def _read_copy(self) -> AliasEntry | None:
        """The copy, as a hint; None where it is absent or no entry, since it decides nothing."""
        try:
            return parsed(AliasEntry, self._store.get(self._copy), self._copy)
        except (Missing, Damaged):
            return None

    def _store_has_copy(self) -> bool:
        return any(info.key == self._copy for info in self._store.list(self._copy))

    def repair_copy(self, entry: AliasEntry) -> None:
        """Best effort: the entry stands, and the next writer repairs what this one could not."""
        try:
            copy = self._read_copy()
            if copy is None or copy.n < entry.n:
                self._store.put(self._copy, sealed(entry))
        except (StoreUnavailable, StoreError) as error:
            log.warning("%s is out of date until the next promotion: %s", self._copy, error.what)


def alias_names(store: Store, layout: Layout) -> list[str]:
    """Names of the aliases that have an entry, or a copy that says that they had one."""
    root = layout.aliases()
    parts = [info.key.removeprefix(root).partition("/") for info in store.list(root)]
    names = {
        name if slash else name.removesuffix(".json") for name, slash, _ in parts if slash or name.endswith(".json")
    }
    return sorted(name for name in names if is_name(name))  # else it is what a file manager left, .DS_Store for one


def _before_gap(numbers: list[int], first: int) -> int:
    for position, n in enumerate(numbers):
        if n != first + position:
            return first + position - 1
    return first - 1


def earlier(log: AliasLog, release: str | None, expected: int | None) -> tuple[AliasEntry, AliasEntry | None]:
    """The live entry that a rollback leaves, and the newest one before it that it returns to.

    Without `release` that is the one before the live release which no rollback left; with it, the last time that it was live, None
    where it never was. Raises AliasMoved where the live entry is not `expected`, UsageError where there is no such entry.
    """
    live = log.newest()
    if live is None:
        raise UsageError(f"alias {log.alias!r} names no release: there is nothing to roll back", "See the history.")
    if expected is not None and live.n != expected:
        raise AliasMoved(
            f"alias {log.alias!r} is at entry {live.n} ({live.release}, {live.reason}), not at {expected}",
            "See the history, and decide again.",
        )
    if release == live.release:
        raise UsageError(f"{release} is live as {log.alias!r} already", "Name the release to return to.")
    for n in range(live.n - 1, 0, -1):
        entry = log.entry(n)
        if entry.release == release or (
            release is None and entry.release != live.release and entry.release not in live.withdrawn
        ):
            return live, entry
    if release is None:
        raise UsageError(
            f"nothing was live as {log.alias!r} before {live.release} that no rollback left",
            "Name the release to return to.",
        )
    return live, None
