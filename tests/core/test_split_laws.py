"""The split's promises: rows never move, held-out rows are unique and unseen, shares hold, digests tell sets apart."""

import csv
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.data.normalise import NORMALISER, hashes, normalised, seed_of
from contender.data.rowfile import RowWriter, open_rows
from contender.data.split import split
from contender.data.trainkeys import train_keys_file
from contender.errors import DataError, UsageError
from contender.records import SplitDefinition, SplitReport

COLUMNS = {"text": "body", "label": "intent"}
quick = settings(deadline=None, max_examples=40)


def definition(**changes) -> SplitDefinition:
    return SplitDefinition(
        **{"key": "text", "test": 0.3, "validation": 0.2, "salt": "s", "normaliser": NORMALISER, **changes}
    )


def row_file(path: Path, rows: list[dict], batch: int = 10_000) -> Path:
    writer = RowWriter(path)
    writer.begin("data.csv")
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["body", "intent"]
    for start in range(0, max(len(rows), 1), batch):
        part = rows[start : start + batch]
        columns = {name: pa.array([row.get(name) for row in part], pa.string()) for name in names}
        writer.add(pa.record_batch(columns))
    writer.close()
    return path


def rows_of(texts: list[str], labels: int = 2) -> list[dict]:
    return [{"body": text, "intent": f"l{n % labels}"} for n, text in enumerate(texts)]


def dealt(
    folder: Path, rows: list[dict], golden=None, keep=(), admitted=None, batch=10_000, near=None, **changes
) -> tuple[SplitReport, dict]:
    folder.mkdir(exist_ok=True)
    row_file(folder / "rows.arrow", rows, batch)
    np.save(folder / "admitted.npy", np.arange(len(rows)) if admitted is None else np.array(admitted, np.int64))
    held = {name: row_file(folder / f"g-{name}.arrow", these) for name, these in (golden or {}).items()}
    out = folder / "out"
    out.mkdir(exist_ok=True)
    (out / "conflicts.csv").unlink(missing_ok=True)
    admitted_rows = folder / "admitted.npy"
    report = split(folder / "rows.arrow", admitted_rows, COLUMNS, keep, definition(**changes), held, out, near)
    return report, {name: list(open_rows(out / f"{name}.arrow")) for name in report.rows}


def one_label_each(texts: list[str]) -> list[dict]:
    """Rows whose label follows from their text, so that none contradict each other."""
    return [{"body": text, "intent": f"l{zlib.crc32(normalised(text).encode()) % 2}"} for text in texts]


def where(sets: dict) -> dict[str, str]:
    """Normalised text → the set that it lies in."""
    return {normalised(row["text"]): name for name, rows in sets.items() for row in rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("split")


BASE = [f"question number {n}" for n in range(60)]


# --- a row never moves


@quick
@given(
    st.lists(st.text(max_size=8), max_size=30),
    st.randoms(use_true_random=False),
    st.sets(st.integers(0, 59), max_size=20),
)
def test_a_key_keeps_its_set_when_rows_are_added_removed_and_reordered(folder, added, random, removed):
    _, before = dealt(folder, rows_of(BASE))
    texts = [text for n, text in enumerate(BASE) if n not in removed] + added
    random.shuffle(texts)
    _, after = dealt(folder, one_label_each(texts), batch=7)
    earlier, later = where(before), where(after)
    assert all(later[text] == earlier[text] for text in earlier.keys() & later.keys())
    assert len(earlier.keys() & later.keys()) >= 40


def test_rows_of_one_key_stay_together_whatever_their_texts(tmp_path):
    rows = [{"body": f"text {n}", "intent": f"l{n % 2}", "customer": f"Customer  {n % 40}"} for n in range(400)]
    _, sets = dealt(tmp_path, rows, key="customer", keep=["customer"])
    homes: dict[str, set[str]] = {}
    for name, these in sets.items():
        for row in these:
            homes.setdefault(row["customer"], set()).add(name)
    assert len(homes) == 40 and all(len(home) == 1 for home in homes.values())


@settings(quick, max_examples=12)
@given(st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.text(min_size=1, max_size=4))
def test_shares_are_near_what_was_asked_for(folder, test, validation, salt):
    count = 4_000
    report, _ = dealt(folder, rows_of([f"t {n}" for n in range(count)]), test=test, validation=validation, salt=salt)
    for name, share in {"test": test, "validation": validation, "train": 1 - test - validation}.items():
        assert abs(report.rows[name] / count - share) < 6 * (share * (1 - share) / count) ** 0.5


def test_another_salt_deals_other_rows(tmp_path):
    _, one = dealt(tmp_path, rows_of(BASE), salt="a")
    _, two = dealt(tmp_path, rows_of(BASE), salt="b")
    assert where(one) != where(two)


def test_more_test_rows_leave_the_earlier_ones_in_test(tmp_path):
    _, small = dealt(tmp_path, rows_of(BASE), test=0.1, validation=0.1)
    _, large = dealt(tmp_path, rows_of(BASE), test=0.3, validation=0.1)
    assert {row["text"] for row in small["test"]} <= {row["text"] for row in large["test"]}


def test_the_split_of_known_rows_is_this_one(tmp_path):
    """A change here moves rows of every pipeline that exists: it needs a new NORMALISER, and a new split."""
    report, sets = dealt(tmp_path, [*rows_of([*BASE, "Straße ﬁn\u00a0Ａ"]), {"body": "STRASSE FIN A", "intent": "l0"}])
    assert report.rows == GOLDEN_ROWS and sets["train"][0]["_key"] == GOLDEN_KEY and NORMALISER == 1
    assert report.digests["test"] == GOLDEN_DIGEST


# --- held-out rows are unique, and unseen in training


texts = st.sampled_from(["a", "A", " a ", "b", "c", "ﬁ", "fi", "d e", "d  E", "é", "e\u0301", *map(str, range(12))])


@quick
@given(
    st.lists(st.tuples(texts, st.sampled_from("xy"), st.sampled_from("pqrstuvw")), max_size=40),
    st.lists(texts, max_size=6),
)
def test_held_out_rows_are_unique_and_no_training_row_has_their_text(folder, triples, golden):
    rows = [{"body": text, "intent": label, "who": who} for text, label, who in triples]
    rows += [{"body": f"fill {n}", "intent": "xy"[n % 2], "who": f"fill {n}"} for n in range(30)]
    report, sets = dealt(folder, rows, golden={"hard": one_label_each(golden)}, key="who", keep=["who"], batch=7)
    removed = report.removed_leaks + report.removed_duplicates + report.removed_conflicts
    assert sum(report.rows.values()) + removed == len(rows) + len(golden)
    pairs = [(normalised(row["who"]), normalised(row["text"])) for row in sets["test"]]
    assert len(pairs) == len(set(pairs)) and len({normalised(row["text"]) for row in sets["golden-hard"]}) == len(
        sets["golden-hard"]
    )
    held = {normalised(row["text"]) for name in ("test", "golden-hard") for row in sets[name]}
    assert held.isdisjoint(normalised(row["text"]) for name in ("train", "validation") for row in sets[name])


def test_what_is_removed_is_counted(tmp_path):
    golden = one_label_each(["Question number 7", "question NUMBER 7 ", "new"])
    report, sets = dealt(tmp_path, rows_of(BASE), golden={"g": golden}, test=0.0)
    assert (report.removed_leaks, report.removed_duplicates, report.rows["golden-g"]) == (1, 1, 2)
    assert "test" not in report.rows and "question number 7" not in where(
        {name: sets[name] for name in ("train", "validation")}
    )


# --- rows that contradict each other


def contradicting(rows: list[dict], of: str) -> set[tuple[str, str]]:
    """(key, text) of those that have several labels."""
    labels = defaultdict(set)
    for row in rows:
        labels[normalised(row[of]), normalised(row["body"])].add(row["intent"])
    return {pair for pair, found in labels.items() if len(found) > 1}


contested = st.lists(st.tuples(texts, st.sampled_from("xy"), st.sampled_from("pqrstuvw")), max_size=40)


@quick
@given(contested, st.lists(st.tuples(texts, st.sampled_from("xy")), max_size=8), st.randoms(use_true_random=False))
def test_no_held_out_row_stays_that_another_contradicts(folder, triples, golden, random):
    rows = [{"body": text, "intent": label, "who": who} for text, label, who in triples]
    rows += [{"body": f"fill {n}", "intent": "xy"[n % 2], "who": f"fill {n}"} for n in range(40)]
    hard = [{"body": text, "intent": label} for text, label in [*golden, ("sure", "x")]]
    report, sets = dealt(folder, rows, golden={"hard": hard}, key="who", keep=["who"], batch=7)
    in_test = [row for row in rows if hashes([row["who"]], seed_of("s", "key"))[0] / 2.0**64 < 0.3]
    wrong, wrong_hard = contradicting(in_test, "who"), contradicting(hard, "body")
    left = {(normalised(row["who"]), normalised(row["text"])) for row in sets["test"]}
    assert left == {(normalised(row["who"]), normalised(row["body"])) for row in in_test} - wrong
    assert {normalised(row["text"]) for row in sets["golden-hard"]} == {normalised(row["body"]) for row in hard} - {
        text for text, _ in wrong_hard
    }
    assert report.removed_conflicts == sum(
        (normalised(row[of]), normalised(row["body"])) in pairs
        for these, of, pairs in ((in_test, "who", wrong), (hard, "body", wrong_hard))
        for row in these
    )
    random.shuffle(rows)
    again, _ = dealt(folder, rows, golden={"hard": hard[::-1]}, key="who", keep=["who"], batch=3)
    assert (again.removed_conflicts, again.rows) == (report.removed_conflicts, report.rows)


def test_rows_that_contradict_each_other_are_listed_with_their_places(tmp_path):
    rows = [*rows_of(BASE), *({"body": "=1+1", "intent": label} for label in ("l0", "l1", "l0"))]
    golden = [{"body": "Sure", "intent": "l0"}, {"body": "odd", "intent": "l0"}, {"body": " ODD", "intent": "l1"}]
    report, sets = dealt(tmp_path, rows, golden={"g": golden}, test=0.9, validation=0.0, batch=9)
    assert report.removed_conflicts == 5 and report.rows["golden-g"] == 1
    with (tmp_path / "out" / "conflicts.csv").open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["_file", "_row", "set", "label", "text"],
            ["data.csv", "61", "test", "l0", "'=1+1"],
            ["data.csv", "62", "test", "l1", "'=1+1"],
            ["data.csv", "63", "test", "l0", "'=1+1"],
            ["data.csv", "2", "golden-g", "l0", "odd"],
            ["data.csv", "3", "golden-g", "l1", " ODD"],
        ]
    assert not {"=1+1", "odd"} & where(sets).keys()


def test_training_rows_may_contradict_each_other(tmp_path):
    rows = [*rows_of(BASE), *({"body": "it depends", "intent": label} for label in ("l0", "l1"))]
    report, _ = dealt(tmp_path, rows, golden={"g": rows_of(["one"])}, test=0.0)
    assert report.removed_conflicts == 0 and sum(report.rows.values()) == 63
    assert not (tmp_path / "out" / "conflicts.csv").exists()


def test_a_held_out_set_that_contradicts_itself_throughout_is_an_error_that_says_where(tmp_path):
    golden = [{"body": "odd", "intent": label} for label in ("l0", "l1")]
    with pytest.raises(
        DataError, match=r"no row of golden-g is left: .* the 2 .* row 1 of data\.csv \(labelled 'l0'\)"
    ):
        dealt(tmp_path, rows_of(BASE), golden={"g": golden})
    rows = [row | {"intent": label} for row in rows_of(BASE) for label in ("l0", "l1")]
    with pytest.raises(DataError, match="no row of test is left"):
        dealt(tmp_path, rows)


def test_a_contradicting_text_stays_out_of_training(tmp_path):
    """Corrected, it is held out again: a model that had trained on it would be judged on what it knows."""
    rows = [{"body": f"text {n % 30}", "intent": f"l{n % 2}", "who": f"w{n}"} for n in range(90)]
    golden = [{"body": text, "intent": label} for text, label in (("text 7", "l0"), ("text 7", "l1"), ("new", "l0"))]
    report, sets = dealt(tmp_path, rows, golden={"g": golden}, test=0.0, key="who", keep=["who"])
    assert report.removed_leaks == 3 and "text 7" not in where(sets)


def test_golden_sets_without_the_key_column_are_told_apart_by_their_text(tmp_path):
    rows = [row | {"customer": f"c{n}"} for n, row in enumerate(rows_of(BASE))]
    report, sets = dealt(tmp_path, rows, golden={"g": rows_of(["one", "two"])}, key="customer", keep=["customer"])
    assert report.rows["golden-g"] == 2 and {row["customer"] for row in sets["golden-g"]} == {None}
    assert len({row["_key"] for row in sets["golden-g"]}) == 2


# --- what is written


def test_files_hold_roles_slices_and_keys_in_the_order_of_the_data(tmp_path):
    rows = [row | {"channel": "mail" if n % 2 else None} for n, row in enumerate(rows_of(BASE))]
    report, sets = dealt(tmp_path, rows, keep=["channel"], batch=9)
    for name, these in sets.items():
        assert [list(row) for row in these] == [["text", "label", "channel", "_key"]] * report.rows[name]
        assert [row["text"] for row in these] == [text for text in BASE if text in {row["text"] for row in these}]
    assert report.label_counts["train"] == {
        label: sum(row["label"] == label for row in sets["train"]) for label in ("l0", "l1")
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "test.arrow",
        "train.arrow",
        "validation.arrow",
    ]


def test_only_admitted_rows_are_dealt(tmp_path):
    admitted = [n for n in range(60) if n % 7]
    report, sets = dealt(tmp_path, rows_of(BASE), admitted=admitted, batch=8)
    assert set(where(sets)) == {BASE[n] for n in admitted} and sum(report.rows.values()) == len(admitted)


def test_digests_depend_on_rows_and_not_on_batches(tmp_path):
    rows = rows_of(BASE)
    one, _ = dealt(tmp_path, rows, batch=1)
    two, _ = dealt(tmp_path, rows, batch=60)
    assert one == two
    changed = [row | {"intent": "l9"} if row["body"] == BASE[0] else row for row in rows]
    other, _ = dealt(tmp_path, changed)
    assert sum(one.digests[name] != other.digests[name] for name in one.digests) == 1


def test_numbers_as_labels_are_text_from_here_on(tmp_path):
    table = pa.table({"body": BASE, "intent": [n % 3 for n in range(60)]})
    writer = RowWriter(tmp_path / "rows.arrow")
    writer.begin("a.parquet")
    writer.add(table.to_batches()[0])
    writer.close()
    np.save(tmp_path / "a.npy", np.arange(60))
    report = split(tmp_path / "rows.arrow", tmp_path / "a.npy", COLUMNS, [], definition(), {}, tmp_path)
    assert report.labels == ("0", "1", "2")


def test_labels_are_those_that_training_and_validation_know(tmp_path):
    golden = [{"body": "only here", "intent": "never trained"}]
    report, _ = dealt(tmp_path, rows_of(BASE, labels=3), golden={"g": golden})
    assert report.labels == ("l0", "l1", "l2") and report.label_counts["golden-g"] == {"never trained": 1}


def test_train_keys_are_sorted_unique_and_those_of_train_and_validation(tmp_path):
    _, sets = dealt(tmp_path, rows_of(BASE + BASE[:9]))
    train_keys_file(tmp_path / "out", tmp_path / "keys.parquet", definition())
    table = pq.read_table(tmp_path / "keys.parquet")
    keys = table.column("key").to_pylist()
    assert table.schema == pa.schema([("key", pa.uint64())])
    assert keys == sorted({row["_key"] for name in ("train", "validation") for row in sets[name]})
    assert set(keys).isdisjoint(row["_key"] for row in sets["test"])


# --- what cannot be split


def test_no_training_rows_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no rows are left to train on"):
        dealt(tmp_path, rows_of([]))
    golden = rows_of(BASE)
    with pytest.raises(DataError, match="60 removed"):
        dealt(tmp_path, rows_of(BASE), golden={"g": golden}, test=0.0)


def test_no_row_to_judge_on_is_an_error_before_anything_trains(tmp_path):
    with pytest.raises(DataError, match="no row fell into test: 10 train"):
        dealt(tmp_path, rows_of(BASE[:10]), test=1e-9, validation=0.0)


def test_one_class_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="have the label 'l0'") as error:
        dealt(tmp_path, rows_of(BASE, labels=1))
    assert error.value.exit_code == 4


def test_a_class_with_one_row_is_dealt_like_any_other(tmp_path):
    rows = [*rows_of(BASE), {"body": "the only one", "intent": "rare"}]
    report, sets = dealt(tmp_path, rows)
    assert (
        where(sets)["the only one"] in report.rows
        and sum(counts.get("rare", 0) for counts in report.label_counts.values()) == 1
    )


@pytest.mark.parametrize("role", ["body", "intent"])
def test_a_row_without_text_or_label_that_the_gate_let_through_is_an_error_that_says_where(tmp_path, role):
    rows = rows_of(BASE)
    rows[41] |= {role: None}
    with pytest.raises(DataError, match=r"row 42 of data\.csv"):
        dealt(tmp_path, rows)
    with pytest.raises(DataError, match=r"golden set g has rows .* row 42 of data\.csv"):
        dealt(tmp_path, rows_of(BASE), golden={"g": rows})


def test_rows_without_a_key_stay_together(tmp_path):
    rows = [row | {"who": None if n % 2 else f"w{n}"} for n, row in enumerate(rows_of(BASE))]
    _, sets = dealt(tmp_path, rows, key="who", keep=["who"])
    assert sum(any(row["who"] is None for row in these) for these in sets.values()) == 1


# --- the normaliser


@settings(deadline=None, max_examples=500)
@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Straße", "STRASSE"),
        ("ﬁn", "fin"),
        ("é", "e\u0301"),
        (" a\t\n b ", "a b"),
        ("Ａ１", "a1"),
        ("a\u00a0b", "a b"),
        ("ΌΣΟΣ", "όσος"),
    ],
)
def test_texts_that_people_take_for_the_same_are(one, two):
    assert normalised(one) == normalised(two)


def test_ascii_text_takes_no_other_way_than_all_text():
    from unicodedata import normalize

    for code in range(128):
        text = f" {chr(code)}A  b"
        assert normalised(text) == " ".join(normalize("NFKC", text).casefold().split())


GOLDEN_ROWS = {"train": 26, "validation": 13, "test": 22}
GOLDEN_KEY = 14195814391315777728
GOLDEN_DIGEST = "789e7df15163f2ab1e613234e06e9d1eb22941b2e593b4b7476445f85c661a75"


def test_a_split_of_another_normaliser_is_refused(tmp_path):
    with pytest.raises(UsageError, match="revision 9"):
        dealt(tmp_path, rows_of(BASE), normaliser=9)
