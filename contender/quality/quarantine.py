"""The quarantine file: every row that failed, where it stands, what it failed, and its cells made harmless."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from contender.quality.plan import Planned
from contender.text import safe_cell


class Quarantine:
    """Writes `quarantine.csv` chunk by chunk; the file has its header even where no row fails."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = [name for name in columns if name not in ("_file", "_row")]
        self._stream: TextIO = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(["_file", "_row", "failed", "reasons", *map(safe_cell, self.columns)])

    def write(self, start: int, table: pa.Table, failed: Mapping[Planned, np.ndarray]) -> None:
        """The rows of this chunk that failed anything; `failed` holds a mask over all rows for each expectation."""
        marks = {item: mask[start : start + table.num_rows] for item, mask in failed.items()}
        if not marks:
            return
        places = np.flatnonzero(np.logical_or.reduce(list(marks.values())))
        if not len(places):
            return
        rows = table.take(pa.array(places)).to_pylist()
        for place, row in zip(places, rows, strict=True):
            items = [item for item, mask in marks.items() if mask[place]]
            names = "; ".join(item.name for item in items)
            reasons = "; ".join(dict.fromkeys(safe_cell(item.reason) for item in items))
            where = (safe_cell(row.get("_file")), row.get("_row", start + int(place) + 1))
            self._writer.writerow([*where, names, reasons, *(safe_cell(row[name]) for name in self.columns)])

    def close(self) -> None:
        self._stream.close()
