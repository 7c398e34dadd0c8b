"""Promoters that all want the same number at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from contender.errors import AliasMoved
from contender.records import AliasEntry


def winners(racers: int, rounds: int, promote: Callable[[int, str], AliasEntry]) -> list[AliasEntry]:
    """The one entry of each round; `promote` gets the number that is expected, and a name of its own."""
    entries: list[AliasEntry] = []
    for n in range(rounds):
        start = threading.Barrier(racers)

        def one(number: int, n: int = n, start: threading.Barrier = start) -> AliasEntry | None:
            start.wait()
            try:
                return promote(n, f"{n}-{number}")
            except AliasMoved:
                return None

        with ThreadPoolExecutor(racers) as pool:
            won = [entry for entry in pool.map(one, range(racers)) if entry]
        assert len(won) == 1
        entries += won
    return entries
