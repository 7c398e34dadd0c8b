"""Near-duplicates of held-out rows: what leaves training, what stays, and that neither depends on order, batches or machine."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import zlib
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contender.data import near as module
from contender.data.near import HeldTexts, NearDuplicates, bands_of, codes, hashed, shingles
from contender.data.normalise import NORMALISER, normalised, plain_hashes
from contender.data.rowfile import RowWriter, open_rows
from contender.data.split import split
from contender.errors import DataError
from contender.records import SplitDefinition, SplitReport
from contender.spec import SplitOptions

quick = settings(deadline=None, max_examples=60)
DEFAULT = SplitOptions().near_duplicates
PHRASES = """card payment balance transfer refund top up cash abroad fee limit pending declined arrived lost stolen virtual
please my the when will how why what is was not has been charged exchange rate account order number late"""
WORDS = PHRASES.split()


def found(held: list[str], others: list[str], threshold: float, folder: Path, at_once: int = 1_000) -> list[bool]:
    """Of each of the others, whether it is near a held-out one."""
    kept = HeldTexts(folder / "held")
    try:
        kept.add(np.array(plain_hashes(held, 0), np.uint64), held)
        index = NearDuplicates(kept.finish(), threshold)
        parts = [others[start : start + at_once] for start in range(0, len(others), at_once)]
        return [bool(one) for part in parts for one in index.among(np.array(plain_hashes(part, 0), np.uint64), part)]
    finally:
        kept.close()


@lru_cache(maxsize=10_000)
def threes(text: str) -> frozenset[str]:
    return frozenset(text[n : n + 3] for n in range(max(1, len(text) - 2)))


def jaccard(one: str, other: str) -> float:
    a, b = threes(one), threes(other)
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def sentence(chance: random.Random, words: int = 9) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def changed(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text))
    return text[:place] + chance.choice("abcdefgh ,.?") + text[place + chance.randrange(2) :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("near")


# --- what counts as near


@pytest.mark.parametrize(
    ("held", "other"),
    [
        ("how can i reset my passcode?", "how can i reset my passcode ?"),
        ("someone took my card without permission", "someone took my card without my permission."),
        ("why hasn't my transaction arrive yet?", "why hasn't my transaction arrived yet?"),
        ("i want to revert a transaction i did this morning", "i want to reverse a transaction i did this morning"),
        ("where is my money", "where is my money?"),
        ("我的银行卡丢了，请问现在应该怎么办", "我的银行卡丢了，请问现在应该怎么办？"),
    ],
)
def test_a_copy_with_a_slip_leaves_training(held: str, other: str, tmp_path: Path) -> None:
    assert found([normalised(held)], [normalised(other)], DEFAULT, tmp_path) == [True]


@pytest.mark.parametrize(
    ("held", "other"),
    [
        ("what is my balance", "what is my pin"),
        ("is there a fee for paying by card?", "why was there a fee for paying by card?"),
        ("one of the best movies of the year", "one of the worst movies of the year"),
        ("yes", "yes!"),
        ("a", "b"),
        ("", "a"),
        ("ab", "abc"),
        ("!!!", "???"),
    ],
)
def test_another_short_text_stays(held: str, other: str, tmp_path: Path) -> None:
    assert found([normalised(held)], [normalised(other)], DEFAULT, tmp_path) == [False]


def test_a_text_exactly_as_similar_as_the_threshold_leaves(tmp_path: Path) -> None:
    held, other = "abcdefghijklmnopqrs", "abcdefghijklmnopqrstuv"  # 17 of 20 shingles
    assert jaccard(held, other) == 0.85
    assert found([held], [other], 0.85, tmp_path) == [True]
    assert found([held], [other], 0.8500001, tmp_path) == [False]


# --- what is found and what is missed


@pytest.mark.parametrize("threshold", [0.7, 0.85, 0.95])
def test_nothing_leaves_that_is_less_similar_and_almost_nothing_else_stays(threshold: float, tmp_path: Path) -> None:
    chance = random.Random(3)
    held = [f"{n} {sentence(chance, chance.randrange(3, 25))}" for n in range(250)]
    others = [text for one in held for text in (one, changed(chance, one), changed(chance, changed(chance, one)))]
    others += [sentence(chance, 4) for _ in range(300)]
    exactly = [max(jaccard(other, one) for one in held) >= threshold for other in others]
    near = found(held, others, threshold, tmp_path)
    assert not [other for other, is_near, should in zip(others, near, exactly, strict=True) if is_near and not should]
    assert sum(should and not is_near for is_near, should in zip(near, exactly, strict=True)) <= 2
    assert sum(exactly) > 250


# Of normalised texts, as a split has them: none holds a line's end, with which a shorter text is filled up to a shingle.
NORMALISED = st.lists(st.text(max_size=12).map(normalised), max_size=12)


@quick
@given(st.text())
@example("\n")
@example("a\r\n\x0b\x0c\x1c\x85\u2028b")
def test_no_normalised_text_holds_what_fills_a_shorter_one(text: str) -> None:
    assert module.FILLER not in normalised(text)


@quick
@given(NORMALISED, NORMALISED)
def test_any_text_that_leaves_is_as_similar_as_asked(folder: Path, held: list[str], others: list[str]) -> None:
    for other, is_near in zip(others, found(held, others, 0.5, folder), strict=True):
        best = max((jaccard(other, one) for one in held), default=0)
        assert best >= 0.5 if is_near else other not in held


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 0.9999])
def test_bands_miss_at_most_what_is_promised(threshold: float) -> None:
    bands, length = bands_of(threshold)
    assert bands * length <= module.PERMUTATIONS
    assert (1 - threshold**length) ** bands <= module.MISSED


def test_of_a_crowd_from_one_template_the_same_few_are_looked_at_in_any_order(tmp_path: Path) -> None:
    chance = random.Random(4)
    texts = [f"ticket {n}: the parcel of order {chance.randrange(10**6)} is late again" for n in range(9_000)]
    held, others = texts[:6_000], texts[6_000:]
    started = time.monotonic()
    near = found(held, others, DEFAULT, tmp_path)
    assert time.monotonic() - started < 60
    chance.shuffle(held)
    assert found(held, others, DEFAULT, tmp_path, at_once=777) == near
    copies = [f"{text}!" for text in held[:500]]
    assert sum(found(held, copies, DEFAULT, tmp_path)) >= 450


@quick
@given(st.lists(st.text(alphabet="abc ", max_size=30), max_size=30), st.randoms(use_true_random=False))
def test_neither_order_nor_batches_matter(folder: Path, texts: list[str], chance: random.Random) -> None:
    held, others = texts[::3], [text for n, text in enumerate(texts) if n % 3]
    near = dict(zip(others, found(held, others, 0.6, folder), strict=True))
    chance.shuffle(held)
    chance.shuffle(others)
    assert dict(zip(others, found(held * 2, others, 0.6, folder, at_once=3), strict=True)) == near


def test_large_chunks_and_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    held = [sentence(chance) for _ in range(200)]
    others = [changed(chance, changed(chance, one)) for one in held]
    near = found(held, others, 0.8, tmp_path)
    for name, value in {"CHUNK_TEXTS": 7, "CHUNK_CHARACTERS": 150, "BLOCK": 20}.items():
        monkeypatch.setattr(module, name, value)
    assert 0 < sum(near) < len(near) and found(held, others, 0.8, tmp_path) == near


def sought(folder: Path) -> str:
    chance = random.Random(6)
    held = [sentence(chance) for _ in range(300)]
    return str(found(held, [changed(chance, changed(chance, one)) for one in held], 0.8, folder))


PROGRAM = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_near_duplicates import sought
print(sought(Path(tempfile.mkdtemp())))
"""


def test_another_hash_seed_of_python_finds_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    here = sought(tmp_path)
    there = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(tests=str(Path(__file__).parent))],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
            "PYTHONPATH": str(root),
        },
    ).stdout
    assert there.strip() == here and "True" in here and "False" in here


def test_the_sketches_are_these(tmp_path: Path) -> None:
    """A release of the library that changes them changes which texts are missed: it needs a new revision of the split."""
    kept = HeldTexts(tmp_path / "held")
    index = NearDuplicates(kept.finish(), 0.85)
    kept.close()
    texts = ["how can i reset my passcode?", "", "a", "\ud800\U0010ffff", "x" * 9_000]
    theirs = [MinHash(126, seed=module.SEED, hashfunc=int, scheme="affine32") for _ in texts]
    for text, sketch in zip(texts, theirs, strict=True):
        sketch.update_batch(hashed(shingles(text)))
    ours = index.sketches(texts)
    assert ours.T.tolist() == [sketch.hashvalues.tolist() for sketch in theirs]
    assert zlib.crc32(ours[:, 0].astype("<u4").tobytes()) == SKETCH


# --- hostile texts

SMILE = "\U0001f642"


@pytest.mark.parametrize(
    "texts",
    [
        [""],
        ["", "a", "b", "ab"],
        [SMILE, SMILE * 2, SMILE * 50, "😡" * 50],
        ["!" * 40, "?" * 40, "?!" * 20],
        ["\ud800", "\udfff\ud800 lone", "lone \ud800 halves of a pair"],
        ["\0", "\0\0\0\0", "\U0010ffff" * 5],
    ],
)
def test_odd_texts_are_texts_like_any_other(texts: list[str], tmp_path: Path) -> None:
    for threshold in (0.5, 0.85, 0.99):
        assert found(texts, texts, threshold, tmp_path) == [True] * len(texts)
        for one in texts:
            expected = [jaccard(one, other) >= threshold for other in texts]
            assert found([one], texts, threshold, tmp_path) == expected
    assert found([], texts, 0.85, tmp_path) == [False] * len(texts)
    assert found(texts, [], 0.85, tmp_path) == []


def test_shingles_are_told_apart_whatever_the_characters() -> None:
    characters = ["\0", "a", "\ud800", "\uffff", "\U00010000", "\U0010ffff"]
    texts = ["".join(three) for length in (0, 1, 2, 3) for three in product(characters, repeat=length)]
    assert len({int(codes([text])[0][0]) for text in texts}) == len(texts)
    assert [len(shingles(text)) for text in ("", "a", "abc", "abcd", "aaaaaa")] == [1, 1, 1, 2, 1]


@pytest.mark.slow
def test_texts_of_ten_megabytes_are_compared_in_seconds(tmp_path: Path) -> None:
    chance = np.random.default_rng(7)
    points = chance.integers(0x4E00, 0x9FFF, 3_500_000).astype("<u4")  # 10 MB as UTF-8, almost no shingle twice
    held = points.tobytes().decode("utf-32-le")
    started = time.monotonic()
    others = [f"{held[:1_000]}x{held[1_001:]}", held[: len(held) // 2], held[::-1], "short"]
    assert found([held, "shorter", "x" * 10_000_000], others, DEFAULT, tmp_path) == [True, False, False, False]
    assert time.monotonic() - started < 120


# --- in the split


def dealt(folder: Path, rows: list[tuple[str, str]], golden: list[tuple[str, str]], **changes: object) -> SplitReport:
    import pyarrow as pa

    def write(name: str, these: list[tuple[str, str]]) -> Path:
        writer = RowWriter(folder / name)
        writer.begin("data.csv")
        for start in range(0, len(these), 50_000):
            texts, labels = zip(*these[start : start + 50_000], strict=True)
            writer.add(pa.record_batch({"text": pa.array(texts), "label": pa.array(labels)}))
        writer.close()
        return folder / name

    np.save(folder / "admitted.npy", np.arange(len(rows)))
    options = {"near_duplicates": DEFAULT, "test": 0.0, **changes}
    definition = SplitDefinition(key="text", test=options.pop("test"), validation=0.1, salt="s", normaliser=NORMALISER)
    return split(
        write("rows.arrow", rows),
        folder / "admitted.npy",
        {"text": "text", "label": "label"},
        (),
        definition,
        {"g": write("golden.arrow", golden)} if golden else {},
        folder,
        **options,
    )


def labelled(texts: list[str]) -> list[tuple[str, str]]:
    return [(text, f"l{zlib.crc32(normalised(text).encode()) % 3}") for text in texts]


def test_near_copies_of_test_and_golden_rows_are_counted_apart_from_equal_ones(tmp_path: Path) -> None:
    chance = random.Random(8)
    rows = labelled([sentence(chance) for _ in range(300)])
    golden = [("someone took my card without permission", "l0")]
    extra = [("Someone took my card without  permission", "l1"), ("someone took my card without my permission.", "l1")]
    report = dealt(tmp_path, rows + extra, golden)
    assert (report.removed_leaks, report.removed_near_duplicates) == (1, 1)
    assert sum(report.rows.values()) == 301
    off = [dealt(tmp_path, rows + extra, golden, near_duplicates=value) for value in (None, 1.0)]
    assert off[0] == off[1] and (off[0].removed_leaks, off[0].removed_near_duplicates) == (1, 0)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1_000), st.integers(1, 120))
def test_growth_moves_no_row_between_training_and_test(folder: Path, seed: int, more: int) -> None:
    chance = random.Random(seed)
    first = [sentence(chance, 6) for _ in range(80)]
    grown = first + [changed(chance, chance.choice(first)) for _ in range(more)]
    homes = []
    for texts in (first, grown):
        chance.shuffle(texts)
        report = dealt(folder, labelled(texts), [], test=0.3)
        removed = report.removed_near_duplicates + report.removed_duplicates
        assert (report.removed_leaks, report.removed_conflicts) == (0, 0)
        assert sum(report.rows.values()) + removed == len(texts)
        sets = {name: open_rows(folder / f"{name}.arrow") for name in report.rows}
        homes.append({normalised(row["text"]): name == "test" for name, these in sets.items() for row in these})
    assert all(homes[1][text] == home for text, home in homes[0].items() if text in homes[1])
    assert {text for text, is_test in homes[0].items() if is_test} <= homes[1].keys()


def test_a_million_equal_texts_are_compared_once(tmp_path: Path) -> None:
    rows = [("The same question, over and over again!", "l0")] * 1_000_000
    rest = labelled([sentence(random.Random(n)) for n in range(50)])
    report = dealt(tmp_path, rows + rest, [("the same question, over and over again", "l0")])
    assert (report.removed_near_duplicates, sum(report.rows.values())) == (1_000_000, 51)


def test_progress_is_told_while_texts_are_indexed_and_rows_dealt(tmp_path: Path) -> None:
    rows = labelled([sentence(random.Random(n)) for n in range(200)])
    held: list[int] = []
    told: list[int] = []
    dealt(tmp_path, rows, rows[:3], on_held=held.append, on_rows=told.append)
    assert held == [3] and told == [200]


def test_where_all_that_trains_is_near_a_held_out_row_the_error_names_the_key(tmp_path: Path) -> None:
    rows = [(f"the same question, over and over again {n}", f"l{n % 2}") for n in range(9)]
    with pytest.raises(DataError, match=r"9 removed because a held-out row has their text or nearly \(9\)") as error:
        dealt(tmp_path, rows, [("the same question, over and over again", "l0")])
    assert "data.split.near_duplicates" in error.value.fix


@pytest.mark.parametrize("value", [0.49, 1.01, 0, True, "much"])
def test_a_threshold_out_of_reach_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        SplitOptions(near_duplicates=value)
    assert [SplitOptions(near_duplicates=fine).near_duplicates for fine in (0.5, 1, None)] == [0.5, 1, None]


SKETCH = 966559958
