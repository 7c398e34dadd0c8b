"""The custom expectations, one rule at a time."""

from __future__ import annotations

import math
import random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.data.normalise import normalised
from contender.quality.engine import Engine, registered
from contender.quality.plan import make_plan
from contender.quality.scopes import SCOPES
from expectations.duplicates import text_key
from expectations.labels import share_distance
from expectations.text import is_mojibake


def bad(kind: str, frame: dict[str, list[Any]], **kwargs: Any) -> list[int]:
    """The places of the rows that one expectation finds."""
    suite = {"expectations": [{"type": kind, "kwargs": kwargs}]}
    result = Engine().on_frame(pd.DataFrame(frame), make_plan(suite, {}, frame).planned)[0]
    assert result.success == (not result.result["unexpected_index_list"])
    return list(result.result["unexpected_index_list"])


def test_the_table_of_scopes_names_exactly_what_great_expectations_and_we_have() -> None:
    assert len(SCOPES) > 50
    assert set(SCOPES) == registered()


@pytest.mark.parametrize(
    "text", ["", " ", "\t\r\n", "\u3000", "\u200b\u200d", "\ufeff", "\u00ad", "\u202e", "\u3164", "\x00"]
)
def test_text_that_shows_nothing_is_not_visible(text: str) -> None:
    assert bad("expect_column_values_to_be_visible", {"text": ["seen", text]}, column="text") == [1]


@pytest.mark.parametrize("text", [".", "0", "é", "猫", "👍", "\u200bx", "ا"])
def test_one_character_is_visible(text: str) -> None:
    assert bad("expect_column_values_to_be_visible", {"text": [text]}, column="text") == []


@pytest.mark.parametrize(
    "text", ["a\ufffd", "\x00", "\x1b[0m", "\x7f", "\x85", "\x9b31m", "naÃ¯ve", "itâ€™s", "Â£5", "ï»¿start", "ðŸ˜€"]
)
def test_damaged_text_is_found(text: str) -> None:
    assert bad("expect_column_values_to_be_undamaged_text", {"text": ["fine", text]}, column="text") == [1]


@pytest.mark.parametrize(
    "text",
    [
        "tab\tline\nend\r\n",
        "NÃO",
        "MANHÃ",
        "«AMANHû",
        "„Ä“ und „Ö“",
        "É»",
        "Âge",
        "Ð",
        "château – “quoted”",
        "Ελληνικά",
        "русский",
        "ÑANDÚ",
        "50 °C ± 2",
        "Ã",
    ],
)
def test_sound_text_is_left_alone(text: str) -> None:
    assert bad("expect_column_values_to_be_undamaged_text", {"text": [text]}, column="text") == []


@settings(max_examples=300)
@given(st.text(alphabet="àâçéèêëîïôùûüÿñáíóúäöß€’“” abcdefgh", min_size=1).filter(lambda text: not text.isascii()))
def test_utf8_read_as_windows_1252_is_mojibake(text: str) -> None:
    read = text.encode("utf-8").decode("latin-1").translate(_WINDOWS)
    assert is_mojibake(read)


_WINDOWS = {
    byte: bytes([byte]).decode("cp1252") for byte in range(0x80, 0xA0) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


def test_labels_are_known_by_the_reference_or_by_name() -> None:
    frame = {"label": ["a", "b", "c", None]}
    assert bad("expect_column_values_to_be_known_labels", frame, column="label", reference={"a": 1.0}) == [1, 2]
    assert bad("expect_column_values_to_be_known_labels", frame, column="label", reference=["a"], new=["c"]) == [1]


def test_all_rows_of_a_torn_text_fail_and_nulls_are_not_looked_at() -> None:
    frame = {"text": ["a", "A ", "a", "b", "b", None, None, "c"], "label": ["x", "y", None, "x", "x", "x", "y", None]}
    assert bad("expect_column_pair_duplicates_to_agree", frame, column_A="text", column_B="label") == [0, 1]


def test_the_first_of_repeated_rows_passes() -> None:
    frame = {"text": ["a", " a", "a", "a", None, None], "label": ["x", "x", "y", "x", "x", "x"]}
    assert bad("expect_column_pair_rows_to_be_distinct", frame, column_A="text", column_B="label") == [1, 3]


def test_blank_texts_are_no_text_and_not_the_same_one() -> None:
    frame = {"text": ["", " ", "\u3000", "\t\n", "a"], "label": ["x", "y", "x", "y", "x"]}
    assert bad("expect_column_pair_duplicates_to_agree", frame, column_A="text", column_B="label") == []
    assert bad("expect_column_pair_rows_to_be_distinct", frame, column_A="text", column_B="label") == []


@pytest.mark.parametrize("values", [[1, 1, None], [[1, 2], [1, 2], [2, 1]], [2**63, 2**63, 7]])
def test_what_is_no_text_is_compared_as_it_is_written(values: list[Any]) -> None:
    frame = {"any": values, "label": ["x", "y", "x"]}
    assert bad("expect_column_pair_duplicates_to_agree", frame, column_A="any", column_B="label") == [0, 1]


@given(st.text())
def test_texts_that_are_the_same_for_the_split_are_the_same_here(text: str) -> None:
    assert text_key(normalised(text)) == text_key(text) == text_key(f"  {text}\n")
    assert -(2**63) <= (text_key(text) or 0) < 2**63
    assert (text_key(text) is None) == (not normalised(text))


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=8), st.integers(1, 50))
def test_shares_do_not_differ_from_themselves_whatever_the_number_of_rows(counts: dict[str, int], times: int) -> None:
    rows = sum(counts.values())
    distance, chance = share_distance(
        {name: count * times for name, count in counts.items()}, {n: c / rows for n, c in counts.items()}
    )
    assert distance == pytest.approx(0, abs=1e-9)
    assert chance >= 0


def test_chance_is_the_distance_that_a_sample_has_from_its_source() -> None:
    rng = random.Random(5)
    reference = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    distances = []
    for _ in range(400):
        drawn = rng.choices(list(reference), weights=list(reference.values()), k=200)
        distance, chance = share_distance({name: drawn.count(name) for name in reference}, reference)
        distances.append(distance)
    assert math.isclose(sum(distances) / len(distances), chance, rel_tol=0.05)


def test_disjoint_labels_are_a_distance_of_one() -> None:
    assert share_distance({"a": 5}, {"b": 1.0})[0] == 1.0
