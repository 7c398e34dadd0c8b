"""The monitoring series: how good champions were on rows that were new to them, and which rows were scored.

Entries are numbered and created create-only, each after the file with its rows' outcomes. A row is in the series once: whoever loses
the race for a number leaves out what the winner scored, and a killed writer leaves at most a file that no entry names.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from contender.errors import AlreadyExists, Damaged, Missing
from contender.monitoring import Observation
from contender.records import sha256_hex
from contender.registry.decisions import numbered_entries, readable_ones
from contender.registry.layout import Layout, number_of, numbered, parsed, sealed
from contender.store import Store
from contender.store.transfer import at_once

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Ids = np.ndarray[Any, np.dtype[np.uint64]]

Describe = Callable[["pa.Table", int, str], Observation]

ID = "id"  # column of the outcomes: which row it is, whatever file it came in


class Observations:
    """The monitoring series of one pipeline."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._folder = layout.monitoring()
        self._known: dict[str, Ids] = {}

    def all(self) -> list[Observation]:
        """Every observation, in order; Damaged where one is missing."""
        return numbered_entries(self._store, self._folder, Observation)

    def readable(self) -> tuple[list[Observation], list[str]]:
        """For people: every observation that can be read, in order, and what is wrong with each other one."""

        def read(key: str) -> Observation:
            number_of(self._folder, key)
            return parsed(Observation, self._store.get(key), key)

        return readable_ones(read, [info.key for info in self._store.list(self._folder)])

    def scored(self, entries: Sequence[Observation]) -> Ids:
        """Sorted ids of the rows that these observations scored."""
        import numpy as np

        names = [entry.outcomes for entry in entries]
        unread = [name for name in dict.fromkeys(names) if name not in self._known]
        self._known |= dict(zip(unread, at_once(self._ids, unread, threads=8), strict=True))
        return np.unique(np.concatenate([np.empty(0, np.uint64), *(self._known[name] for name in names)]))

    def add(self, outcomes: pa.Table, describe: Describe) -> Observation | None:
        """Adds what of these outcomes no observation has yet, as the next number; None where nothing is left.

        `outcomes`: one row for each id. `describe` makes the entry of some of them, its number and the name of their file.
        """
        import pyarrow as pa

        from contender.keys import among

        while True:
            entries = self.all()
            left = outcomes.filter(pa.array(~among(outcomes.column(ID).to_numpy(), self.scored(entries))))
            if not left.num_rows:
                return None
            n = len(entries) + 1
            entry = describe(left, n, self._keep(left))  # the file before the entry that names it
            key = numbered(self._folder, n)
            try:
                self._store.create(key, sealed(entry))
            except AlreadyExists:
                # Another writer's, or this very one, whose answer was lost: then its rows are scored, and it is what was asked for.
                standing = parsed(Observation, self._store.get(key), key)
                if standing.outcomes != entry.outcomes:
                    continue
                entry = standing
            return entry

    def outcomes(self, observation: Observation) -> pa.Table:
        """The outcomes of an observation's rows; Damaged where they are not what was written."""
        import pyarrow.parquet as pq

        return pq.read_table(io.BytesIO(self._file(observation.outcomes)))

    def _keep(self, outcomes: pa.Table) -> str:
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(outcomes, out, compression="zstd")
        name = sha256_hex(out.getvalue())
        with suppress(AlreadyExists):  # an earlier attempt's, with the same bytes
            self._store.create(self._layout.observed(name), out.getvalue())
        return name

    def _ids(self, name: str) -> Ids:
        import pyarrow.parquet as pq

        ids: Ids = pq.read_table(io.BytesIO(self._file(name)), columns=[ID]).column(ID).to_numpy()
        return ids

    def _file(self, name: str) -> bytes:
        key = self._layout.observed(name)
        try:
            data = self._store.get(key)
        except Missing:
            raise Damaged(f"{key} is missing", "The monitoring series names it: restore it from a backup.") from None
        if sha256_hex(data) != name:
            raise Damaged(f"{key} has other content than its sha256 says", "Restore it from a backup.")
        return data
