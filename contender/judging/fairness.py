"""Which rows may be compared, and as what: those that neither model trained on, one unit for each split key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from contender.keys import among

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST_UNITS = 20  # split keys below which no comparison is decided


def untrained(keys: Array, trained_on: Iterable[Array | None]) -> Array:
    """(rows,) bool: the key is in none of the sorted arrays of keys, one of each model."""
    found = np.zeros(len(keys), dtype=bool)
    for trained in trained_on:
        if trained is not None:
            found |= among(keys, trained)
    return ~found


def refusal(keys: Array, dropped: int) -> str | None:
    """Why nothing can be decided from rows with these keys, whatever the models said; `dropped`: rows that one trained on."""
    rows, units = len(keys), len(np.unique(keys))
    if dropped > rows:
        return f"one of the models trained on {dropped:,} of {rows + dropped:,} rows, more than half"
    if units < FEWEST_UNITS:
        return f"{units} {'split keys' if units < rows else 'rows'} are fewer than {FEWEST_UNITS}"
    return None
