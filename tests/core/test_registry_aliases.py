"""The alias log: one winner per number, nothing lost, and no champion invented where the log is not whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from racing import winners
from standing import standing

from contender.errors import AliasMoved, Damaged, OutcomeUnknown, StoreUnavailable, UsageError
from contender.records import AliasEntry, Decision
from contender.registry import Registry
from contender.registry.layout import parsed, sealed
from contender.registry.ledger import Comparison
from contender.store import MemoryStore, Store


def registry(store: Store) -> Registry:
    return Registry(store, "intents", patience=0.0)


def promote(registry: Registry, expected: int, name: str = "a", actor: str = "tests", alias="production") -> AliasEntry:
    """A release becomes live whose manifest alone is there: nothing here loads a model."""
    return registry.promote(alias, expected, standing(registry, name), reason="better", actor=actor)


def copy_in(store: Store) -> AliasEntry:
    return parsed(AliasEntry, store.get("intents/aliases/production.json"), "the copy")


def decision(alias_entry: int | None, judged_against: int = 0, alias: str = "production") -> Decision:
    return Decision(
        key=f"0-0-{judged_against:08d}",
        pipeline="intents",
        outcome="promoted",
        message="",
        spec_digest="0",
        snapshot="0",
        rows=1,
        judged_against=judged_against,
        alias=alias,
        alias_entry=alias_entry,
        seconds=1.0,
        actor="tests",
        at="now",
    )


def test_the_first_promotion_is_entry_1_and_the_next_names_what_it_replaced(store: Store):
    found = registry(store)
    assert found.champion("production") is None
    assert found.log("production") == []
    first = promote(found, 0, "a")
    second = promote(found, 1, "b")
    assert [entry.n for entry in found.log("production")] == [1, 2]
    assert found.champion("production") == second
    assert (first.previous, second.previous) == (None, first.release)


def test_a_stale_verdict_loses_and_is_told_who_won(store: Store):
    found = registry(store)
    winner = promote(found, 0, "a", actor="winner")
    with pytest.raises(AliasMoved, match=f"entry 1 names {winner.release}, written by winner"):
        promote(found, 0, "b")
    assert found.log("production") == [winner]


def test_of_racing_promoters_one_wins_each_round(store: Store):
    entries = winners(20, 3, lambda n, name: promote(registry(store), n, name))
    assert registry(store).log("production") == entries
    assert registry(store).champion("production") == entries[-1]


def test_aliases_are_separate_logs(store: Store):
    found = registry(store)
    entry = promote(found, 0)
    assert found.champion("staging") is None
    assert promote(found, 0, "b", alias="staging").n == 1
    assert found.champion("production") == entry


def test_a_pipeline_exists_with_its_first_object_and_names_its_aliases(store: Store):
    found = registry(store)
    promote(Registry(store, "intents-2"), 0, alias="live")
    assert not found.exists()
    assert found.aliases() == []
    promote(found, 0)
    promote(found, 0, "b", alias="staging")
    assert found.exists()
    assert found.aliases() == ["production", "staging"]


@pytest.mark.parametrize(
    "stray", [".DS_Store", "._production", "notes.txt", "a b/00000001.json", ".hidden/00000001.json"]
)
def test_what_cannot_be_an_alias_is_not_among_their_names(store: Store, stray: str):
    found = registry(store)
    promote(found, 0)
    store.put(f"intents/aliases/{stray}", b"1")
    assert found.aliases() == ["production"]


def test_an_alias_whose_entries_were_lost_is_still_named():
    found = registry(store := MemoryStore())
    promote(found, 0)
    store.delete("intents/aliases/production/00000001.json")
    assert found.aliases() == ["production"]


def test_a_promotion_that_skips_a_number_is_refused():
    found = registry(MemoryStore())
    promote(found, 0)
    with pytest.raises(Damaged, match="entry 5"):
        promote(found, 5)
    assert len(found.log("production")) == 1


def test_reading_a_long_log_reads_its_end_alone():
    store = MemoryStore()
    found = registry(store)
    for n in range(50):
        promote(found, n, str(n))
    store.calls.clear()
    assert found.champion("production") == found.log("production")[-1]
    gets = [key for operation, key in store.calls[:3] if operation == "get"]
    assert gets == ["intents/aliases/production.json", "intents/aliases/production/00000050.json"]


# --- the copy decides nothing ---


def test_a_copy_that_is_behind_absent_or_nonsense_decides_nothing():
    store = MemoryStore()
    found = registry(store)
    first, second = promote(found, 0, "a"), promote(found, 1, "b")
    for copy in (sealed(first), b"{", b"", b"\xff", sealed(second)):
        store.put("intents/aliases/production.json", copy)
        assert found.champion("production") == second
    store.delete("intents/aliases/production.json")
    assert found.champion("production") == second
    third = promote(found, 2, "c")
    assert copy_in(store) == third


def test_a_promotion_stands_where_its_copy_could_not_be_written():
    store = MemoryStore()
    found = registry(store)
    store.fail("put", "unavailable", prefix="intents/aliases")
    entry = promote(found, 0)
    assert found.champion("production") == entry
    second = promote(found, 1, "b")
    assert copy_in(store) == second


def test_a_slow_writer_does_not_turn_the_copy_back():
    store = MemoryStore()
    found = registry(store)
    first, second = promote(found, 0, "a"), promote(found, 1, "b")
    found.repair_copy("production", first)
    assert copy_in(store) == second


# --- it fails closed ---


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_entry_is_damage(lost: int):
    store = MemoryStore()
    found = registry(store)
    for n in range(3):
        promote(found, n, str(n))
    store.delete(f"intents/aliases/production/{lost:08d}.json")
    with pytest.raises(Damaged):
        found.log("production")
    if lost == 3:  # the end of the log is what deciding needs
        with pytest.raises(Damaged):
            found.champion("production")
        with pytest.raises(Damaged):
            promote(found, 2)


def test_an_emptied_log_is_not_no_champion_while_the_copy_is_there():
    store = MemoryStore()
    found = registry(store)
    promote(found, 0)
    store.delete("intents/aliases/production/00000001.json")
    for copy in (store.get("intents/aliases/production.json"), b"nonsense", b""):
        store.put("intents/aliases/production.json", copy)
        for act in (lambda: found.champion("production"), lambda: found.log("production"), lambda: promote(found, 0)):
            with pytest.raises(Damaged, match="shorter than it was"):
                act()


@pytest.mark.parametrize(("entry", "against"), [(1, 0), (None, 4)])
def test_an_emptied_log_is_not_no_champion_while_a_decision_names_an_entry(entry: int | None, against: int):
    store = MemoryStore()
    found = registry(store)
    found.decide(decision(entry, against))
    with pytest.raises(Damaged, match="decisions name entries"):
        found.champion("production")
    assert found.champion("staging") is None


def test_decisions_without_an_entry_leave_an_empty_log_empty():
    found = registry(MemoryStore())
    found.decide(decision(None))
    assert found.champion("production") is None


@pytest.mark.parametrize("operation", ["list", "get"])
def test_a_log_that_cannot_be_read_is_not_empty(operation: str):
    store = MemoryStore()
    found = registry(store)
    for readings in (lambda: found.champion("production"), lambda: found.log("production")):
        store.fail(operation, "unavailable")  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            readings()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"n":1}',
        b"[]",
        b'{"n":1,"release":"r-x","digest":"d","reason":"","actor":"","writer":"w","at":""}',
    ],
)
def test_an_entry_that_is_none_is_damage(content: bytes):
    store = MemoryStore()
    store.put("intents/aliases/production/00000001.json", content)
    for act in (lambda: registry(store).champion("production"), lambda: registry(store).log("production")):
        with pytest.raises(Damaged, match="00000001"):
            act()


@pytest.mark.parametrize("name", ["notes.txt", "1.json", "00000001.json.bak", "00000000.json", "x/00000001.json"])
def test_what_does_not_belong_into_a_log_is_damage(name: str):
    store = MemoryStore()
    found = registry(store)
    promote(found, 0)
    store.put(f"intents/aliases/production/{name}", b"1")
    with pytest.raises(Damaged):
        found.log("production")


def test_an_entry_under_another_number_is_damage():
    store = MemoryStore()
    found = registry(store)
    first = promote(found, 0)
    store.put("intents/aliases/production/00000002.json", sealed(first))
    with pytest.raises(Damaged, match="contradicts itself"):
        found.champion("production")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a b", ".hidden", "x.json", "é", "a" * 101, "a\n"])
def test_a_name_that_could_climb_out_is_refused(name: str):
    with pytest.raises(UsageError, match="no name of a"):
        Registry(MemoryStore(), name)
    found = registry(MemoryStore())
    for act in (
        lambda: found.champion(name),
        lambda: found.release(name),
        lambda: found.evaluation("r-1", name),
        lambda: found.look(name, Comparison("r", None, "d", "rule"), np.arange(9, dtype=np.uint64), 0.95, bool),
        lambda: found.decide(decision(None).model_copy(update={"key": name})),
    ):
        with pytest.raises(UsageError, match="no name of a"):
            act()


# --- lost answers ---


def test_a_promotion_whose_answer_was_lost_has_happened_once():
    store = MemoryStore()
    found = registry(store)
    store.fail("create", "lost_answer")
    entry = promote(found, 0)
    assert found.log("production") == [entry]


def test_a_promotion_that_nobody_knows_of_is_unknown_and_the_next_one_settles_it():
    store = MemoryStore()
    found = registry(store)
    store.fail("create", "late", times=4)
    with pytest.raises(OutcomeUnknown) as caught:
        promote(found, 0, "a")
    assert "may still land" in caught.value.fix
    rival = promote(found, 0, "b")
    store.land()
    assert found.log("production") == [rival]


def test_a_promotion_repeats_itself_while_its_patience_lasts():
    store = MemoryStore()
    store.fail("create", "unavailable", times=6)
    entry = promote(Registry(store, "intents", patience=20.0), 0)
    assert registry(store).champion("production") == entry


def test_the_secretive_parts_of_an_entry_are_its_writer_alone():
    found = registry(MemoryStore())
    first, second = promote(found, 0, "a"), promote(found, 1, "b")
    assert first.writer != second.writer
    assert len(first.writer) == 32


# --- laws ---

WRITERS = 3
STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, WRITERS - 1)),
    st.tuples(st.just("promote"), st.integers(0, WRITERS - 1)),
    st.tuples(st.just("land"), st.none()),
    st.tuples(
        st.just("fault"),
        st.tuples(
            st.sampled_from(["create", "get", "put", "list"]),
            st.sampled_from(["unavailable", "lost_answer", "late"]),
            st.integers(1, 6),
        ),
    ),
)


class History:
    """Several writers, each with its own idea of the newest entry, on one store that loses and delays."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.views = [0] * WRITERS
        self.won: dict[int, str] = {}  # n → writer that was told so
        self.seen: dict[int, AliasEntry] = {}
        self.released = 0

    def step(self, what: str, argument: object) -> None:
        if what == "fault":
            operation, fault, times = argument  # type: ignore[misc]
            if fault != "late" or operation in ("create", "put"):
                self.store.fail(operation, fault, times, prefix="intents/aliases")
        elif what == "land":
            self.store.land()
        elif what == "read":
            self.read(int(argument))  # type: ignore[call-overload]
        else:
            self.promote(int(argument))  # type: ignore[call-overload]
        self.check()

    def read(self, writer: int) -> None:
        try:
            newest = registry(self.store).champion("production")
        except StoreUnavailable:
            return
        self.views[writer] = newest.n if newest else 0

    def promote(self, writer: int) -> None:
        self.released += 1
        try:
            entry = promote(registry(self.store), self.views[writer], str(self.released))
        except (AliasMoved, OutcomeUnknown, StoreUnavailable):
            return
        assert entry.n == self.views[writer] + 1
        assert entry.n not in self.won, "one number, one winner"
        self.won[entry.n] = entry.writer

    def check(self) -> None:
        """What lies in the store now, read past the faults."""
        quiet = MemoryStore()
        quiet._objects = self.store._objects
        entries = registry(quiet).log("production")
        assert [entry.n for entry in entries] == list(range(1, len(entries) + 1))
        for n, before in self.seen.items():
            assert entries[n - 1] == before, "an entry never changes"
        self.seen = {entry.n: entry for entry in entries}
        for n, writer in self.won.items():
            assert self.seen[n].writer == writer, "whoever was told that it won is in the log"
        newest = registry(quiet).champion("production")
        assert newest == (entries[-1] if entries else None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=40))
def test_whatever_is_lost_or_late_every_number_has_one_winner_and_nothing_changes(steps: list[tuple[str, object]]):
    history = History()
    for what, argument in steps:
        history.step(what, argument)


def test_a_first_promotion_that_comes_between_two_looks_is_no_damage():
    """Whoever listed an empty log and finds its copy a moment later has seen two moments, not a loss."""

    class Between(MemoryStore):
        promote = staticmethod(lambda: None)

        def list(self, prefix: str = "", after: str = ""):
            found = list(super().list(prefix, after))
            if prefix.endswith("/production/"):
                act, self.promote = self.promote, lambda: None
                act()
            return iter(found)

    store = Between()
    rival = registry(store)
    store.promote = lambda: promote(rival, 0, actor="a rival")
    entry = registry(store).champion("production")
    assert entry is not None
    assert (entry.n, entry.actor) == (1, "a rival")
