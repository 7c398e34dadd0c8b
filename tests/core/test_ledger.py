"""The ledger's generations: which rows a look may judge, what it may spend, and what waits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import Damaged, StoreUnavailable
from contender.judging.spending import alpha_of
from contender.registry import Registry
from contender.registry.ledger import Comparison, Taken
from contender.store.memory import MemoryStore

ENOUGH = 100


def keys(start: int, end: int) -> np.ndarray:
    return np.arange(start, end, dtype=np.uint64)


def look(registry: Registry, name: str, seen: np.ndarray, rule: str = "rule") -> Taken:
    comparison = Comparison(name, "champion", f"set of {len(seen)}", rule)
    return registry.look("test", comparison, seen, 0.95, lambda units: units >= ENOUGH)


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore(), "intents")


def test_a_set_that_is_too_small_takes_new_rows_in(registry: Registry) -> None:
    first, second = look(registry, "a", keys(0, 40)), look(registry, "b", keys(0, 70))
    assert (first.look.look, first.look.units, second.look.look, second.look.units) == (1, 40, 2, 70)
    assert second.look.generation == 1 and second.look.waiting == 0
    assert second.look.alpha == pytest.approx(alpha_of(2, 0.95))


def test_once_it_suffices_later_rows_wait_and_become_a_generation_of_their_own(registry: Registry) -> None:
    assert look(registry, "a", keys(0, 120)).look.units == 120
    waiting = look(registry, "b", keys(0, 219))
    assert (waiting.look.generation, waiting.look.look, waiting.look.units, waiting.look.waiting) == (1, 2, 120, 99)
    assert waiting.keys.tolist() == list(range(120))
    fresh = look(registry, "c", keys(0, 220))
    assert (fresh.look.generation, fresh.look.look, fresh.look.units, fresh.look.waiting) == (2, 1, 100, 0)
    assert fresh.keys.tolist() == list(range(120, 220))
    assert fresh.look.alpha == pytest.approx(alpha_of(1, 0.95))


def test_the_same_comparison_finds_its_look_with_the_rows_that_it_judged(registry: Registry) -> None:
    first = look(registry, "a", keys(0, 40))
    look(registry, "b", keys(0, 70))
    again = look(registry, "a", keys(0, 40))
    assert again.entry == first.entry and again.look == first.look
    assert np.array_equal(again.keys, first.keys)
    assert look(registry, "a", keys(0, 40), rule="edited").look.look == 3


def test_rows_that_left_the_set_are_not_judged_and_do_not_count(registry: Registry) -> None:
    look(registry, "a", keys(0, 120))
    shrunk = look(registry, "b", keys(60, 150))
    assert shrunk.keys.tolist() == list(range(60, 150)), "what is left suffices no more, so that new rows join"
    assert shrunk.look.generation == 1


def test_what_is_spent_is_told_as_a_share_of_the_generations_life(registry: Registry) -> None:
    spent = [look(registry, name, keys(0, 120)).look.spent for name in "abc"]
    assert spent[0] == pytest.approx(6 / np.pi**2)
    assert spent[1] == pytest.approx(6 / np.pi**2 * 1.25)
    assert spent == sorted(spent) and spent[-1] < 1
    assert look(registry, "a", keys(0, 120)).look.spent == spent[0], "a retry tells what was so at the time"


def test_keys_that_were_changed_after_they_were_written_are_damage() -> None:
    store = MemoryStore()
    look(Registry(store, "intents"), "a", keys(0, 40))
    (kept,) = [info.key for info in store.list("intents/judged/")]
    good = store.get(kept)
    for bad in (b"", b"PAR1 nonsense PAR1", good[:-9] + bytes(9)):
        store.delete(kept)
        store.create(kept, bad)
        with pytest.raises(Damaged, match="judged/test"):
            look(Registry(store, "intents"), "b", keys(0, 40))
    store.delete(kept)
    with pytest.raises(Damaged, match="missing"):
        look(Registry(store, "intents"), "b", keys(0, 40))


sizes = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(sizes)
def test_laws_of_every_history(windows: list[tuple[int, int]]) -> None:
    """Rows come and go: a key belongs to one generation, and each generation spends less than 1 − confidence."""
    registry = Registry(MemoryStore(), "intents")
    owner: dict[int, int] = {}
    for number, (start, length) in enumerate(windows):
        taken = look(registry, f"challenger {number}", keys(start, start + length))
        assert set(taken.keys.tolist()) <= set(range(start, start + length))
        for key in taken.keys.tolist():
            assert owner.setdefault(key, taken.look.generation) == taken.look.generation
        assert taken.look.units + 0 == len(taken.keys)
        assert taken.look.spent < 1
        assert taken.entry.judged == len(owner)
    spent: dict[int, float] = {}
    for entry in registry.looks("test"):
        spent[entry.generation] = spent.get(entry.generation, 0) + entry.alpha
    assert all(share < 0.05 for share in spent.values())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(1, 30),
            st.tuples(st.sampled_from(["create", "get", "list"]), st.sampled_from(["unavailable", "lost_answer"])),
        ),
        max_size=20,
    )
)
def test_whatever_fails_a_retry_judges_the_same_rows(steps: list[int | tuple[str, str]]) -> None:
    store = MemoryStore()
    registry = Registry(store, "intents")
    told: dict[int, list[int]] = {}
    for step in steps:
        if isinstance(step, tuple):
            store.fail(*step, 1)
            continue
        try:
            taken = look(registry, f"challenger {step}", keys(0, step * 10))
        except StoreUnavailable:
            continue
        assert told.setdefault(step, taken.keys.tolist()) == taken.keys.tolist()
