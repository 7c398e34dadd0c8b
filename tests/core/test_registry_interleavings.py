"""Promote, roll back, stage, repair and collect at once, in every order up to a bound: what is live is whole, and nobody is lied to."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from interleave import AtOnce, explore

from contender.errors import AliasMoved, BeingDeleted, ContenderError, Damaged, StoreError, UsageError
from contender.files import describe_files
from contender.records import ReleaseDraft
from contender.registry import Registry
from contender.registry.layout import files_digest, release_id
from contender.store import MemoryStore, transfer

DRAFT = ReleaseDraft(kind="text-classification", columns={})
NAMES = ("a", "b", "c")
FOLDERS = Path(tempfile.mkdtemp(prefix="contender-interleavings-"))


def folder(name: str) -> Path:
    path = FOLDERS / name
    if not path.is_dir():
        path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_text(name)
    return path


def release(name: str) -> str:
    return release_id(files_digest(describe_files(folder(name))))


def registry(store: MemoryStore) -> Registry:
    return Registry(store, "intents", patience=0.0)


@cache
def prepared() -> MemoryStore:
    """a was live, b is; c is staged."""
    store = MemoryStore()
    found = registry(store)
    for name in NAMES:
        found.stage(folder(name), DRAFT)
    for n, name in enumerate(NAMES[:2]):
        found.promote("production", n, found.release(release(name)), reason=name, actor="setup")
    return store


def with_two_promoted() -> MemoryStore:
    store = MemoryStore()
    store._objects = dict(prepared()._objects)
    return store


def promote(name: str) -> Any:
    def act(store: MemoryStore) -> Any:
        found = registry(store)
        return found.promote(
            "production", 2, found.release(release(name)), reason=f"promote {name}", actor="p", by_hand=True
        )

    return act


def rollback(store: MemoryStore) -> Any:
    return registry(store).rollback("production", reason="worse in use", actor="r")


def stage(name: str) -> Any:
    return lambda store: registry(store).stage(folder(name), DRAFT)


def collect(store: MemoryStore) -> Any:
    return registry(store).collector(keep=1, older_than=0.0).collect()


def repair(store: MemoryStore) -> Any:
    found = registry(store)
    entry = found.champion("production")
    assert entry is not None
    return found.repair_copy("production", entry)


ALLOWED = (AliasMoved, BeingDeleted, UsageError, StoreError, Damaged)  # of an actor that came too late


def check(store: MemoryStore, results: list[Any], schedule: list[int]) -> None:
    found = registry(store)
    log = found.log("production")
    told = [result for result in results if type(result).__name__ == "AliasEntry"]
    for entry in told:
        assert log[entry.n - 1] == entry, f"{schedule}: told of an entry that is not there"
    assert len(log) == 2 + len(told), f"{schedule}: {len(log)} entries, and {len(told)} were told of one"
    live = log[-1]
    assert found.champion("production") == live
    try:
        found.verify(live.release)
    except ContenderError as error:
        raise AssertionError(f"{schedule}: what is live is not whole: {error}") from error
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, ALLOWED):
            pytest.fail(f"{schedule}: {result!r}")
    for whole in found.releases():
        found.verify(whole.release)  # a release with a manifest has its files
    left = [info.key for info in store.list() if "/claims/" in info.key or info.key.endswith("deleting.json")]
    assert not left, f"{schedule}: {left}"


PAIRS = {
    "promote, gc": (promote("c"), collect),
    "rollback, gc": (rollback, collect),
    "stage, gc": (stage("c"), collect),
    "promote, rollback": (promote("c"), rollback),
}
TRIPLES = {
    "promote, repair, gc": (promote("c"), repair, collect),
    "rollback, promote, gc": (rollback, promote("c"), collect),
    "stage, rollback, gc": (stage("a"), rollback, collect),
    "stage, promote, gc": (stage("c"), promote("c"), collect),
}


def walk(acts: tuple[Any, ...], switches: int) -> None:
    count, ends = 0, set()
    for store, results, schedule in explore(with_two_promoted, acts, switches):
        check(store, results, schedule)
        ends.add(tuple(type(result).__name__ for result in results))
        count += 1
    assert count > 20
    assert len(ends) > 1, "the order makes a difference, or the schedules are none"


# Where nothing hurries, one switch more, and two for two actors: thousands of orders each, those of one switch among them.
@pytest.mark.parametrize("more", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("acts", [*PAIRS.values(), *TRIPLES.values()], ids=[*PAIRS, *TRIPLES])
def test_in_every_order_what_is_live_is_whole(
    acts: tuple[Any, ...], more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ThreadPoolExecutor", AtOnce)
    walk(acts, 1 + more * (4 - len(acts)))
