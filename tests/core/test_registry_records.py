"""Evaluations, decisions, ledgers and the split: written once, the first one stands."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.errors import Damaged, StoreUnavailable, UsageError
from contender.records import Decision, Evaluation, LedgerEntry, SplitDefinition
from contender.registry import Registry
from contender.registry.layout import parsed
from contender.registry.ledger import Comparison
from contender.store import MemoryStore, Store

RELEASE = "r-0123456789abcdef"


def evaluation(name: str = "e-1", device: str = "cpu") -> Evaluation:
    return Evaluation(evaluation=name, release=RELEASE, champion=None, device=device, dtype="fp32", challenger_sets=())


def decision(key: str, message: str = "") -> Decision:
    return Decision(
        key=key,
        pipeline="intents",
        outcome="kept",
        message=message,
        spec_digest="0",
        snapshot="0",
        rows=1,
        judged_against=0,
        seconds=1.0,
        actor="tests",
        at="now",
    )


def definition(salt: str) -> SplitDefinition:
    return SplitDefinition(key="text", test=0.15, validation=0.1, salt=salt, normaliser=1)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "report.html").write_text("<html>")
    (folder / "deep" / "outcomes.parquet").write_bytes(b"rows")
    return folder


# --- evaluations ---


def test_an_evaluation_is_read_as_it_was_saved_with_every_file(store: Store, files: Path):
    registry = Registry(store, "intents")
    assert registry.save_evaluation(evaluation(), files) == evaluation()
    assert registry.evaluation(RELEASE, "e-1") == evaluation()
    assert registry.evaluation_file(RELEASE, "e-1", "deep/outcomes.parquet") == b"rows"
    assert registry.evaluations(RELEASE) == ["e-1"]


def test_the_first_evaluation_stands(store: Store, files: Path):
    registry = Registry(store, "intents")
    registry.save_evaluation(evaluation(), files)
    (files / "report.html").write_text("other")
    assert registry.save_evaluation(evaluation(device="cuda"), files).device == "cpu"
    assert registry.evaluation_file(RELEASE, "e-1", "report.html") == b"<html>"


def test_racing_savers_leave_one_whole_evaluation(store: Store, tmp_path: Path):
    start = threading.Barrier(4)

    def one(number: int) -> Evaluation:
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("report.html", "outcomes.parquet", "README.md"):
            (folder / name).write_text(f"of {number}")
        start.wait()
        return Registry(store, "intents").save_evaluation(evaluation(device=str(number)), folder)

    with ThreadPoolExecutor(4) as pool:
        assert len({found.device for found in pool.map(one, range(4))}) == 1
    for name in ("report.html", "outcomes.parquet", "README.md"):
        assert Registry(store, "intents").evaluation_file(RELEASE, "e-1", name).startswith(b"of ")


def test_an_interrupted_save_is_no_evaluation_and_the_next_one_completes_it(files: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    store.fail("create", "unavailable", times=4, prefix=f"intents/evaluations/{RELEASE}/e-1/manifest")
    with pytest.raises(StoreUnavailable):
        registry.save_evaluation(evaluation(), files)
    assert registry.evaluations(RELEASE) == []
    with pytest.raises(UsageError, match="known: none"):
        registry.evaluation(RELEASE, "e-1")
    assert registry.save_evaluation(evaluation(), files) == evaluation()


def test_a_changed_or_lost_file_of_an_evaluation_is_damage(files: Path):
    store = MemoryStore()
    registry = Registry(store, "intents")
    registry.save_evaluation(evaluation(), files)
    root = f"intents/evaluations/{RELEASE}/e-1/"
    store.corrupt(f"{root}evaluation.json", at=2)
    with pytest.raises(Damaged, match=r"evaluation\.json"):
        registry.evaluation(RELEASE, "e-1")
    store.delete(f"{root}report.html")
    with pytest.raises(Damaged, match=r"report\.html is missing"):
        registry.evaluation_file(RELEASE, "e-1", "report.html")
    with pytest.raises(UsageError, match="unknown file"):
        registry.evaluation_file(RELEASE, "e-1", "nothing.txt")


# --- decisions ---


def test_the_first_decision_of_a_key_stands(store: Store):
    registry = Registry(store, "intents")
    assert registry.decide(decision("a-b-00000000", "first")).message == "first"
    assert registry.decide(decision("a-b-00000000", "second")).message == "first"
    assert [found.message for found in registry.decisions()] == ["first"]


def test_decisions_are_found_by_the_beginning_of_their_key():
    registry = Registry(MemoryStore(), "intents")
    for key in ("b-1-00000000", "a-1-00000001", "a-1-00000000", "a-2-00000000"):
        registry.decide(decision(key))
    assert [found.key for found in registry.decisions("a-1-")] == ["a-1-00000000", "a-1-00000001"]
    assert len(registry.decisions()) == 4
    assert registry.decisions("c") == []


def test_a_decision_that_is_none_is_damage():
    store = MemoryStore()
    store.put("intents/decisions/x.json", b"{}")
    with pytest.raises(Damaged, match=r"x\.json"):
        Registry(store, "intents").decisions()


def test_a_damaged_decision_hides_no_other_from_whoever_reads_the_history():
    store = MemoryStore()
    registry = Registry(store, "intents")
    for key in ("a", "b", "c"):
        registry.decide(decision(key))
    assert registry.readable_decisions() == (registry.decisions(), [])
    store.put("intents/decisions/b.json", b"{")
    store.put("intents/decisions/.DS_Store", b"1")
    found, damaged = registry.readable_decisions()
    assert [one.key for one in found] == ["a", "c"]
    assert len(damaged) == 1 and damaged[0].startswith("intents/decisions/b.json has other content")
    with pytest.raises(Damaged, match=r"b\.json"):
        registry.decisions()


# --- the ledger ---


KEYS = np.arange(100, dtype=np.uint64)


def look(registry: Registry, challenger: str, rule: str = "rule", digest: str = "d", name: str = "test") -> LedgerEntry:
    return registry.look(name, Comparison(challenger, None, digest, rule), KEYS, 0.95, lambda units: units > 20).entry


def test_a_look_is_found_again_and_another_comparison_is_the_next_one(store: Store):
    registry = Registry(store, "intents")
    first = look(registry, "a")
    assert look(registry, "a") == first
    assert [look(registry, "b").n, look(registry, "a", rule="edited").n, look(registry, "a", digest="grown").n] == [
        2,
        3,
        4,
    ]
    assert look(registry, "a", name="golden-hard").n == 1


def test_racing_looks_take_a_number_each(store: Store):
    start = threading.Barrier(8)

    def one(number: int) -> LedgerEntry:
        start.wait()
        return look(Registry(store, "intents"), f"challenger {number // 2}")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    numbers = {entry.challenger: entry.n for entry in found}
    assert sorted(numbers.values()) == [1, 2, 3, 4]
    assert len({entry.to_bytes() for entry in found}) == 4, "the same comparison is one look"


def test_what_all_looks_spend_stays_below_one_minus_confidence():
    registry = Registry(MemoryStore(), "intents")
    spent = [look(registry, str(n)).alpha for n in range(200)]
    assert spent[0] == pytest.approx(0.05 * 0.6079, rel=1e-3)
    assert spent == sorted(spent, reverse=True)
    assert 0.049 < sum(spent) < 0.05


def test_a_ledger_with_a_gap_is_damage():
    store = MemoryStore()
    registry = Registry(store, "intents")
    for name in "abc":
        look(registry, name)
    store.delete("intents/ledger/test/00000002.json")
    with pytest.raises(Damaged, match="gap"):
        look(registry, "d")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from("abcd"),
            st.tuples(
                st.sampled_from(["create", "get", "list"]),
                st.sampled_from(["unavailable", "lost_answer"]),
                st.integers(1, 5),
            ),
        ),
        max_size=25,
    )
)
def test_whatever_fails_a_comparison_has_one_number_and_numbers_have_no_gap(steps):
    store = MemoryStore()
    registry = Registry(store, "intents")
    told: dict[str, LedgerEntry] = {}
    for step in steps:
        if isinstance(step, tuple):
            store.fail(*step)
            continue
        try:
            entry = look(registry, step)
        except StoreUnavailable:
            continue
        assert told.setdefault(step, entry) == entry
    store.heal()
    keys = [info.key for info in store.list("intents/ledger/")]
    assert keys == [f"intents/ledger/test/{n + 1:08d}.json" for n in range(len(keys))]
    assert len({parsed(LedgerEntry, store.get(key), key).challenger for key in keys}) == len(keys)


# --- the split ---


def test_the_first_definition_of_the_split_is_frozen(store: Store):
    registry = Registry(store, "intents")
    assert registry.freeze_split(definition("a")) == definition("a")
    assert registry.freeze_split(definition("b")) == definition("a")


def test_racing_definitions_agree_on_one(store: Store):
    start = threading.Barrier(6)

    def one(number: int) -> str:
        start.wait()
        return Registry(store, "intents").freeze_split(definition(str(number))).salt

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(one, range(6)))) == 1


def test_a_definition_whose_answer_was_lost_is_the_one_that_stands():
    store = MemoryStore()
    store.fail("create", "lost_answer")
    assert Registry(store, "intents").freeze_split(definition("a")) == definition("a")


def test_pipelines_of_one_store_do_not_see_each_other(files: Path):
    store = MemoryStore()
    first, second = Registry(store, "intents"), Registry(store, "intents-2")
    first.save_evaluation(evaluation(), files)
    first.decide(decision("a"))
    first.freeze_split(definition("a"))
    assert second.evaluations(RELEASE) == []
    assert second.decisions() == []
    assert second.freeze_split(definition("b")) == definition("b")
