"""Is this store safe for a registry? Probes of the very place, below a folder of their own that is gone at the end.

examine(store) → Examination: findings, a verdict in one sentence, an outcome
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from contender import stopping
from contender.errors import Missing, StoreError, StoreUnavailable, UnsafeStore
from contender.store.base import Store
from contender.store.findings import CREATE_ONLY, RACE, Examination, Finding
from contender.store.guarded import itself
from contender.store.local import LocalStore
from contender.store.probes import FOLDER, Probes, create_only, probing, race

Step = tuple[str, Callable[[], Finding]]

ROUNDS = 2  # of the race: in the second one connections are warm, and racers closer together
RIGHTS, REPLACING, LISTING, RANGES = "rights", "overwriting and deleting", "listing", "ranged reads"
READ_ONLY = "these credentials may not write here"


def examine(store: Store, on_step: Callable[[str], None] | None = None) -> Examination:
    """Everything that can be seen of the store from here; `on_step` gets the name of what is looked at next.

    Raises StoreError where nothing is allowed there, StoreUnavailable where nobody answers, Interrupted where a signal asked to
    stop; in each case nothing of the probes stays.
    """
    began = time.monotonic()
    found: list[Finding] = []
    inner = itself(store)
    with _probing(inner) as probes:
        for name, look in _steps(inner, probes, found):
            stopping.check()
            if on_step:
                on_step(name)
            found.append(_looked(name, look))
    return Examination(url=store.url, findings=tuple(found), seconds=round(time.monotonic() - began, 3))


def _probing(store: Store) -> AbstractContextManager[Probes]:
    from contender.store.s3 import S3Store

    if isinstance(store, LocalStore):
        from contender.store.local_doctor import leave_nothing

        return probing(store, leave_nothing(store))
    if isinstance(store, S3Store):
        from contender.store.s3_settings import Bucket, remove_versions

        return probing(store, lambda probes: remove_versions(Bucket(store), probes))
    return probing(store)


def _steps(store: Store, probes: Probes, found: list[Finding]) -> Iterator[Step]:
    """What is looked at, in its order; `found` grows meanwhile."""
    from contender.store.s3 import S3Store

    allowed = try_rights(store, probes)
    writable = "write" not in allowed.refused
    yield RIGHTS, lambda: allowed.finding
    yield from _between_writers(probes, found, allowed)
    if writable:
        yield REPLACING, lambda: replacing(probes)
        yield LISTING, lambda: listing(probes)
        if not isinstance(store, S3Store):
            yield RANGES, lambda: reading(probes)
    if isinstance(store, LocalStore):
        from contender.store.local_doctor import steps as of_a_folder

        yield from of_a_folder(store, writable)
    elif isinstance(store, S3Store):
        from contender.store.s3_doctor import steps as of_a_bucket

        yield from of_a_bucket(store, probes, found, writable)


def _between_writers(probes: Probes, found: list[Finding], allowed: Rights) -> Iterable[Step]:
    if "write" in allowed.refused:
        yield CREATE_ONLY, lambda: _unseen(CREATE_ONLY, READ_ONLY)
        yield RACE, lambda: _unseen(RACE, READ_ONLY)
        return
    yield CREATE_ONLY, lambda: create_only(probes)
    # Where a second create replaces the first, a race would tell nothing new; on a bucket it shows that versioning is at fault.
    refused = found[-1].state == "unsafe" and "refuses" in found[-1].seen
    yield RACE, (lambda: _unseen(RACE, "not tried: creates are refused")) if refused else (lambda: race(probes, ROUNDS))


def _unseen(name: str, why: str) -> Finding:
    return Finding(name=name, state="unknown", seen=why)


def _looked(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except UnsafeStore as error:
        return Finding(name=name, state="unsafe", seen=error.what, advice=error.fix)
    except (StoreError, StoreUnavailable) as error:
        return Finding(name=name, state="unknown", seen=error.what, advice=error.fix)


@dataclass(frozen=True)
class Rights:
    """What these credentials may do here; `refused`: operation → why not."""

    refused: dict[str, StoreError] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        allowed = [name for name in ("list", "read", "write", "delete") if name not in self.refused]
        seen = ", ".join(allowed) + ": allowed" if allowed else ""
        if not self.refused:
            return Finding(name=RIGHTS, state="ok", seen=seen)
        seen += f"; {', '.join(self.refused)}: refused" if allowed else ""
        if "list" in self.refused or "read" in self.refused:
            return Finding(
                name=RIGHTS,
                state="unsafe",
                seen=f"{seen}: which release is live cannot be read",
                advice=next(self.refused[name].fix for name in ("list", "read") if name in self.refused),
            )
        if "write" in self.refused:
            return Finding(
                name=RIGHTS,
                state="warning",
                seen=f"{seen}: pull, verify and history work, a run and a promotion do not",
                advice=f"Enough for readers, who need no more. A run needs it: {self.refused['write'].in_one_line}",
            )
        return Finding(
            name=RIGHTS,
            state="warning",
            seen=f"{seen}: runs work, and the probes of this examination stay in {FOLDER}…",
            advice="Allow deleting below .doctor-*; gc needs it everywhere.",
        )


def try_rights(store: Store, probes: Probes) -> Rights:
    """Tries each operation once. Raises the first refusal where nothing can be listed or written."""
    refused: dict[str, StoreError] = {}
    first: list[str] = []

    def attempt(operation: str, act: Callable[[], object]) -> None:
        try:
            act()
        except StoreError as error:
            refused[operation] = error

    attempt("list", lambda: first.extend(info.key for info, _ in zip(store.list(), range(1), strict=False)))
    attempt("write", lambda: probes.put("rights", b"1"))
    if "list" in refused and "write" in refused:
        raise refused["list"]
    if "write" not in refused:
        attempt("read", lambda: probes.get("rights"))
        attempt("delete", lambda: probes.delete("rights"))
        return Rights(refused)
    refused["delete"] = refused["write"]  # nobody deletes what is not his to try that
    if first:
        attempt("read", lambda: store.open(first[0]).close())
    return Rights(refused)


def replacing(probes: Probes) -> Finding:
    """Whether the newest bytes are read at once, and what was deleted is gone."""
    probes.put("replaced", b"old")
    probes.put("replaced", b"new")
    found = probes.get("replaced")
    probes.delete("replaced")
    gone = False
    with suppress(Missing):
        probes.get("replaced")
        gone = True
    if found == b"new" and not gone:
        return Finding(name=REPLACING, state="ok", seen="the newest bytes were read at once; what was deleted was gone")
    wrong = "old bytes were read after an overwrite" if found != b"new" else "a deleted object could still be read"
    return Finding(
        name=REPLACING, state="unsafe", seen=wrong, advice="Use a store whose reads show every finished write."
    )


NAMES = [f"listed/{number}" for number in range(5)]


def listing(probes: Probes) -> Finding:
    """Whether everything written is listed at once, in order, and from a key on."""
    for name in reversed(NAMES):
        probes.put(name, b"1")
    everything = [info.key for info in probes.list("listed/")]
    behind = [info.key for info in probes.list("listed/", after=NAMES[2])]
    return listed(everything, behind)


def listed(everything: list[str], behind: list[str]) -> Finding:
    if everything == NAMES and behind == NAMES[3:]:
        return Finding(name=LISTING, state="ok", seen="whole, in order, at once, and from a key on")
    if sorted(everything) != NAMES:
        wrong = f"{len(set(everything) & set(NAMES))} of {len(NAMES)} new objects are listed"
    else:
        wrong = "keys are out of order" if everything != NAMES else "a listing from a key on begins elsewhere"
    return Finding(
        name=LISTING, state="unsafe", seen=wrong, advice="The log of promotions is read by listing: use another store."
    )


def reading(probes: Probes) -> Finding:
    data = bytes(range(256)) * 8
    probes.put("read", data)
    with probes.open("read") as stream:
        stream.seek(1000)
        good = stream.read() == data[1000:]
    return ranges(good)


def ranges(good: bool) -> Finding:
    if good:
        return Finding(name=RANGES, state="ok", seen="an object can be read from any byte on")
    return Finding(
        name=RANGES,
        state="warning",
        seen="a read from a byte in the middle gave other bytes",
        advice="A download that breaks off begins anew; where a proxy stands between, let the Range header through.",
    )
