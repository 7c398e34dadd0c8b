"""What was decided on: the files of each snapshot that has a decision, written before it."""

from __future__ import annotations

from contender.errors import AlreadyExists, Missing
from contender.registry.layout import Layout
from contender.store import Store


class SnapshotFiles:
    """Tables of snapshots' files, by the snapshot's digest."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def keep(self, snapshot: str, table: bytes) -> None:
        """Keeps the snapshot's table, unless one stands: the digest says which files are in it."""
        try:
            self._store.create(self._layout.snapshot(snapshot), table)
        except AlreadyExists:
            return

    def get(self, snapshot: str) -> bytes | None:
        """The snapshot's table; None where its decision was made before such tables were kept."""
        try:
            return self._store.get(self._layout.snapshot(snapshot))
        except Missing:
            return None
