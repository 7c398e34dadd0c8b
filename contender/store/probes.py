"""What is tried on a store below a folder of its own, and that nothing of it stays.

    <store>/.doctor-<8 hex: seconds since 1970><8 hex: at random>/…

The folder's name says when it was made, so that what a killed process left is removed an hour later by the next one.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from contender.errors import AlreadyExists, StoreError, StoreUnavailable, UnsafeStore
from contender.store.base import Below, Store
from contender.store.findings import CREATE_ONLY, RACE, WAY_OUT, Finding
from contender.store.transfer import at_once

FOLDER = ".doctor-"
MADE = re.compile(re.escape(FOLDER) + r"([0-9a-f]{8})[0-9a-f]{8}/")
LEFT_SECONDS = 3600  # no examination takes so long; clocks of several machines differ by less
RACERS = 20
REMOVERS = 8
REFUSALS = (StoreError, StoreUnavailable)


class Probes(Below):
    """A folder for probes; it remembers what was written, so that removing it needs no listing."""

    def __init__(self, store: Store) -> None:
        self.folder = f"{FOLDER}{int(time.time()):08x}{secrets.token_hex(4)}"
        self.written: set[str] = set()
        super().__init__(store, self.folder)

    def put(self, key: str, data: bytes) -> None:
        self.written.add(key)
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self.written.add(key)
        super().create(key, data)

    def remove(self) -> None:
        """Best effort: whoever may not delete leaves them, and the finding on rights says so."""

        def remove(key: str) -> None:
            with suppress(*REFUSALS):
                self.delete(key)

        at_once(remove, self.written, threads=REMOVERS)


@contextmanager
def probing(store: Store, forget: Callable[[Probes], object] | None = None) -> Iterator[Probes]:
    """A folder for probes, gone at the end whatever happens; also what a killed process left an hour ago.

    `forget` removes what a delete leaves in a store of this kind: old versions, empty folders.
    """
    probes = Probes(store)
    try:
        yield probes
    finally:
        probes.remove()
        if forget:
            forget(probes)
        with suppress(*REFUSALS):
            for key in left_behind(store):
                store.delete(key)


def left_behind(store: Store) -> list[str]:
    """Keys of probes that are older than any examination takes."""
    keys = [info.key for info in store.list(FOLDER)]
    return [key for key in keys if (made := MADE.match(key)) and time.time() - int(made[1], 16) > LEFT_SECONDS]


def create_only(probes: Probes) -> Finding:
    """Whether a second create is refused, and leaves the first one's bytes alone."""
    key, first, second = f"create-{secrets.token_hex(4)}", b"the first", b"the second"
    try:
        probes.create(key, first)
    except UnsafeStore as error:
        return Finding(name=CREATE_ONLY, state="unsafe", seen=error.what, advice=error.fix)
    except AlreadyExists as error:  # nobody else knows the key: what was read to settle it was damaged on the way
        raise StoreUnavailable(f"{probes.url}/{key} was read otherwise than it was written", "Try again.") from error
    refused = False
    try:
        probes.create(key, second)
    except AlreadyExists:
        refused = True
    kept = _holds(probes, key, first)
    if refused and kept:
        return Finding(
            name=CREATE_ONLY, state="ok", seen="a second create was refused, and the first one's bytes stood"
        )
    what = "replaced the first one" if not kept else "was confirmed, and did nothing"
    return Finding(
        name=CREATE_ONLY,
        state="unsafe",
        seen=f"a second create of the same object {what}, so two promotions could undo each other",
        advice=WAY_OUT,
    )


def race(probes: Probes, rounds: int = 1) -> Finding:
    """Whether of so many writers that create the same object at once exactly one is told that it won, round after round."""
    for _ in range(rounds):
        key, answers = _raced(probes)
        won = [racer for racer, answer in answers.items() if answer == "won"]
        told = ", ".join(f"{count} {answer}" for answer, count in sorted(Counter(answers.values()).items()))
        if len(won) > 1 or (won and not _holds(probes, key, _bytes(won[0]))):
            seen = f"of {RACERS} writers of the same object {len(won)} were told that they won"
            if len(won) == 1:
                seen = "the writer that was told that it won is not the one whose bytes are there"
            return Finding(name=RACE, state="unsafe", seen=seen, advice=WAY_OUT)
        if not won:
            return Finding(
                name=RACE,
                state="unknown",
                seen=f"none of {RACERS} writers of the same object was told that it won ({told})",
                advice="Try again; where it repeats, the store is overloaded, or its conditional writes do not work.",
            )
    times = "once" if rounds == 1 else f"{rounds} times"
    return Finding(
        name=RACE, state="ok", seen=f"{RACERS} writers created the same object at once, {times}: one won each time"
    )


def _holds(probes: Probes, key: str, data: bytes) -> bool:
    """Whether the object has these bytes. What differs is read twice: a bit may flip on the way, too."""
    return probes.get(key) == data or probes.get(key) == data


def _raced(probes: Probes) -> tuple[str, dict[int, str]]:
    """The key, and racer → won, lost or unknown."""
    key, start = f"race-{secrets.token_hex(4)}", threading.Barrier(RACERS)

    def one(racer: int) -> str:
        start.wait()
        try:
            probes.create(key, _bytes(racer))
        except AlreadyExists:
            return "lost"
        except StoreUnavailable:
            return "unknown"
        return "won"

    with ThreadPoolExecutor(RACERS, thread_name_prefix="race") as pool:
        return key, dict(enumerate(pool.map(one, range(RACERS))))


def _bytes(racer: int) -> bytes:
    return f"writer {racer}".encode()
