"""The ledger of a held-out set: which rows were judged how often, and what each look may err.

Look k at a generation spends (1 − confidence)·6/(π²k²), which sums to 1 − confidence over all k: however long a schedule goes on, the
chance that any of its challengers is promoted though it is not better stays below that. A generation is the rows that are judged
together. It takes new rows in while they are too few to show what is worth showing; then it is closed, rows that come later wait,
never judged, and become the next generation as soon as they alone suffice, with an alpha of its own.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from contender.errors import AlreadyExists, Damaged, Missing
from contender.judging.spending import alpha_of
from contender.records import LedgerEntry, Look, sha256_hex
from contender.registry.decisions import numbered_entries
from contender.registry.layout import Layout, now, numbered, sealed
from contender.store import Store
from contender.store.transfer import at_once

Keys = np.ndarray[Any, np.dtype[np.uint64]]
Enough = Callable[[int], bool]

NO_KEYS: Keys = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Comparison:
    """What makes a look the same look: a retry finds its entry, an edited rule does not."""

    challenger: str
    champion: str | None
    set_digest: str
    rule: str

    def is_of(self, entry: LedgerEntry) -> bool:
        return (self.challenger, self.champion, self.set_digest, self.rule) == (
            entry.challenger,
            entry.champion,
            entry.set_digest,
            entry.rule,
        )


@dataclass(frozen=True)
class Taken:
    """A look that was taken: its entry, what it may spend, and the sorted keys that it judges."""

    entry: LedgerEntry
    look: Look
    keys: Keys


@dataclass(frozen=True)
class Place:
    """Where the next look belongs, and whether keys that were never judged go into its generation."""

    generation: int
    look: int
    takes_in: bool


def next_place(entries: Sequence[LedgerEntry], fresh: int, left: int, enough: Enough) -> Place:
    """The place of a look after these. `fresh`: keys that were never judged; `left`: those that the generation still has."""
    generation = entries[-1].generation if entries else 1
    if entries and enough(fresh):
        return Place(generation + 1, 1, takes_in=True)
    look = 1 + sum(entry.generation == generation for entry in entries)
    return Place(generation, look, takes_in=not enough(left))


class Ledger:
    """The looks at one held-out set."""

    def __init__(self, store: Store, layout: Layout, held_out: str) -> None:
        self._store = store
        self._layout = layout
        self._folder = layout.ledger(held_out)
        self._set = held_out
        self._known: dict[str, Keys] = {}

    def entries(self) -> list[LedgerEntry]:
        """Every look, in order; Damaged where one is missing."""
        return numbered_entries(self._store, self._folder, LedgerEntry)

    def look(self, comparison: Comparison, keys: Keys, confidence: float, enough: Enough) -> Taken:
        """The entry of this comparison, found or added as the next number, before outcomes are compared.

        keys: of every row that can be compared. `enough` says whether so many keys can show what is worth showing.
        """
        keys = np.unique(keys)
        while True:
            entries = self.entries()
            found = next((entry for entry in entries if comparison.is_of(entry)), None)
            if found is not None:
                return self._taken(entries[: found.n], keys, confidence)
            entry, added = self._next(entries, comparison, keys, confidence, enough)
            if entry.added:
                self._keep(entry.added, added)  # before the entry that names them
                self._known[entry.added] = added
            try:
                self._store.create(numbered(self._folder, entry.n), sealed(entry))
            except AlreadyExists:
                continue  # another comparison took the number, or a rival wrote this very one
            return self._taken([*entries, entry], keys, confidence)

    def _next(
        self, entries: Sequence[LedgerEntry], comparison: Comparison, keys: Keys, confidence: float, enough: Enough
    ) -> tuple[LedgerEntry, Keys]:
        """The entry that would follow, and the keys that it takes in."""
        judged = self._keys(entries)
        fresh = np.setdiff1d(keys, judged, assume_unique=True)
        generation = entries[-1].generation if entries else 1
        standing = self._keys(entry for entry in entries if entry.generation == generation)
        left = len(np.intersect1d(keys, standing, assume_unique=True))
        place = next_place(entries, len(fresh), left, enough)
        if place.generation != generation:
            standing = NO_KEYS
        added = fresh if place.takes_in else NO_KEYS
        entry = LedgerEntry(
            n=len(entries) + 1,
            set=self._set,
            set_digest=comparison.set_digest,
            challenger=comparison.challenger,
            champion=comparison.champion,
            rule=comparison.rule,
            generation=place.generation,
            look=place.look,
            alpha=alpha_of(place.look, confidence),
            added=sha256_hex(_bytes(added)) if len(added) else None,
            units=len(standing) + len(added),
            judged=len(judged) + len(added),
            writer=secrets.token_hex(16),
            at=now(),
        )
        return entry, added

    def _taken(self, entries: Sequence[LedgerEntry], keys: Keys, confidence: float) -> Taken:
        """The last of the entries as a look: at its generation's keys as far as they are among `keys`."""
        last = entries[-1]
        together = [entry for entry in entries if entry.generation == last.generation]
        judges = np.intersect1d(keys, self._keys(together), assume_unique=True)
        look = Look(
            set=self._set,
            generation=last.generation,
            look=last.look,
            alpha=last.alpha,
            spent=sum(entry.alpha for entry in together) / (1 - confidence),
            units=len(judges),
            waiting=len(np.setdiff1d(keys, self._keys(entries), assume_unique=True)),
        )
        return Taken(last, look, judges)

    def _keys(self, entries: Iterable[LedgerEntry]) -> Keys:
        """Sorted keys that these entries took in."""
        names = list(dict.fromkeys(entry.added for entry in entries if entry.added))
        unread = [name for name in names if name not in self._known]
        self._known |= dict(zip(unread, at_once(self._read, unread, threads=8), strict=True))
        return np.unique(np.concatenate([NO_KEYS, *(self._known[name] for name in names)]))

    def _keep(self, name: str, keys: Keys) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(pa.table({"key": pa.array(keys, pa.uint64())}), out, compression="zstd")
        with suppress(AlreadyExists):  # an earlier attempt's, with the same keys
            self._store.create(self._layout.judged(self._set, name), out.getvalue())

    def _read(self, name: str) -> Keys:
        import pyarrow as pa
        import pyarrow.parquet as pq

        key = self._layout.judged(self._set, name)
        try:
            keys: Keys = pq.read_table(io.BytesIO(self._store.get(key))).column("key").to_numpy()
        except (pa.ArrowException, KeyError, OSError):
            keys = NO_KEYS
        except Missing:
            raise Damaged(f"{key} is missing", "The ledger names it: restore it from a backup.") from None
        if sha256_hex(_bytes(keys)) != name:
            raise Damaged(f"{key} has other content than its sha256 says", "Restore it from a backup.")
        return keys


def _bytes(keys: Keys) -> bytes:
    return keys.astype("<u8").tobytes()
