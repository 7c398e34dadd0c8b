"""A held-out set as both models answered it, and the rows of it that may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.evaluation.outcomes import Outcomes, from_table
from contender.judging.fairness import untrained
from contender.keys import among
from contender.verdict import Look

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class HeldOut:
    """Outcomes of challenger and champion on one set, row by row in the same order.

    slices: columns of the same rows, that guards look at by value. look and keys: what the set's ledger allows a comparison to spend,
    and the sorted split keys that it may judge; None where nothing is compared on the set.
    """

    challenger: pa.Table
    champion: pa.Table | None = None
    slices: pa.Table | None = None
    look: Look | None = None
    keys: Array | None = None


@dataclass(frozen=True)
class Fair:
    """The rows of a set that neither model trained on."""

    name: str
    ours: Outcomes
    theirs: Outcomes | None
    keys: Array
    dropped: int
    waiting: int = 0
    slices: pa.Table | None = None

    @property
    def rows(self) -> int:
        return self.ours.rows

    def take(self, rows: Array, waiting: int = 0) -> Fair:
        """Some of the rows: indices or a mask."""

        return Fair(
            self.name,
            self.ours.take(rows),
            self.theirs.take(rows) if self.theirs else None,
            self.keys[rows],
            self.dropped,
            waiting,
        )

    def judged(self, keys: Array) -> Fair:
        """The rows whose keys a look may judge, without their slices; the others wait."""
        mask = among(self.keys, keys)
        return self.take(mask, int((~mask).sum()))

    def unknown_labels(self, known: Sequence[str] | None) -> int:
        """Rows whose label is not among the known ones."""
        if known is None:
            return 0
        strange = np.array([name not in set(known) for name in self.ours.names], dtype=bool)
        return int(strange[self.ours.labels].sum())


def fair(name: str, held: HeldOut, trained_on: Iterable[Array | None]) -> Fair:
    """The comparable rows of a set; ValueError where the models' outcomes are not of the same rows."""
    import pyarrow as pa

    keys = held.challenger.column("key").to_numpy()
    kept = untrained(keys, trained_on)
    ours = from_table(held.challenger).take(kept)
    theirs = None
    if held.champion is not None:
        _check_same_rows(held.challenger, held.champion)
        theirs = from_table(held.champion).take(kept)
    slices = held.slices.filter(pa.array(kept)) if held.slices is not None else None
    return Fair(name, ours, theirs, keys[kept], int((~kept).sum()), slices=slices)


def _check_same_rows(challenger: pa.Table, champion: pa.Table) -> None:
    same = challenger.num_rows == champion.num_rows and all(
        challenger.column(name).equals(champion.column(name)) for name in ("key", "label")
    )
    if not same:
        raise ValueError("the outcomes of challenger and champion are not of the same rows in the same order")
