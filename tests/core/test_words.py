"""A text as a report shows it: what redaction leaves, character for character, with each word's share of an answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contender.attribution import Attribution, Span
from contender.reporting.words import FULL_LENGTH, Reading, read, shown_text
from contender.text import LOOKED_AT


def reading(text: str, *spans: tuple[int, int, float], examples: str = "full", gap: float = 0.0) -> Reading:
    parts = tuple(Span(start=start, end=end, weight=weight) for start, end, weight in spans)
    return read(text, examples, Attribution(row=0, answer="spam", spans=parts, gain=1.0, gap=gap))


def by_token(text: str, weight: float = 1.0) -> list[tuple[int, int, float]]:
    """Tokens of three characters, as little respectful of words as those of some tokenizers."""
    return [(at, min(at + 3, len(text)), weight * (-1) ** at) for at in range(0, len(text), 3)]


# Texts of words, digits of several scripts, addresses, marks that combine, joiners, direction marks, scripts without spaces.
alphabet = st.sampled_from(
    [*"ab09٣²@.＠ \n\t…#[]<>&\u0301\u200d\u202e\x1b漢かﾀ👩💻éह\u093f", "a@b.c", "x" * 30, "7" * 9]
)
texts = st.lists(alphabet, max_size=120).map("".join) | st.text(max_size=300)


@given(texts, st.sampled_from(["redacted", "full"]), st.floats(-5, 5))
def test_what_is_marked_is_what_redaction_leaves_character_for_character(text, examples, weight):
    found = reading(text, *by_token(text, weight), examples=examples)
    assert "".join(word.text for word in found.words) == shown_text(text, examples)
    assert all(word.text in shown_text(text, examples) or "…" in word.text for word in found.words)


@given(texts)
def test_no_digit_and_no_address_of_the_row_is_in_a_word_or_a_sentence(text):
    found = reading(text, *by_token(text), examples="redacted")
    said = [word.text for word in (*found.words, *found.towards, *found.against)]
    assert not any(character.isdigit() for one in said for character in one)
    assert not any(re.search(r"[^@＠\s][@＠][^@＠\s]", one) for one in said)


@given(texts, st.floats(-5, 5))
def test_shares_are_of_all_weights_and_what_is_not_shown_is_told(text, weight):
    found = reading(text, *by_token(text, weight), examples="redacted")
    shares = sum(abs(word.share) for word in found.words)
    assert 0 <= shares <= 1 + 1e-9
    if shares:
        assert shares + found.unseen == pytest.approx(1)
    assert all(0 <= word.level <= 4 for word in found.words)


def test_tokens_of_a_word_are_added_up_and_the_strongest_word_has_the_strongest_mark():
    found = reading("please unsubscribe me now", (0, 6, 0.1), (7, 9, 1.0), (9, 18, 2.0), (19, 21, -1.5), (22, 25, 0.4))
    styles = {word.text: word.style for word in found.words if word.text.strip()}
    assert styles == {"please": "", "unsubscribe": "for4", "me": "against2", "now": "for1"}
    assert [(word.text, round(word.share, 2)) for word in found.towards] == [("unsubscribe", 0.6), ("now", 0.08)]
    assert [(word.text, round(word.share, 2)) for word in found.against] == [("me", -0.3)]


def test_a_token_over_two_words_is_shared_by_their_letters_and_blanks_get_nothing():
    found = reading("ab cdef", (0, 7, 6.0))
    assert [(word.text, word.share) for word in found.words] == [
        ("ab", pytest.approx(1 / 3)),
        (" ", 0.0),
        ("cdef", pytest.approx(2 / 3)),
    ]


def test_an_address_is_one_word_and_its_parts_are_nowhere():
    text = "mail jo.doe7@example.com today"
    found = reading(text, (0, 4, 0.5), (5, 11, 2.0), (12, 24, 1.0), (25, 30, -0.5), examples="redacted")
    assert [word.text for word in found.words] == ["mail", " ", "[e-mail]", " ", "today"]
    assert found.towards[0].text == "[e-mail]" and found.towards[0].share == pytest.approx(0.75)


def test_in_scripts_without_spaces_every_character_is_a_word_and_keeps_what_modifies_it():
    text = "注文かﾞabc遅い"
    found = reading(text, (0, 2, 1.0), (7, 9, -1.0))
    assert [word.text for word in found.words] == ["注", "文", "か", "ﾞ", "abc", "遅", "い"]
    hindi = "हिन्दी है"
    assert [word.text for word in reading(hindi, (0, 6, 1.0)).words] == ["हिन्दी", " ", "है"]


def test_a_word_that_repeats_is_named_once_and_what_acts_is_not_part_of_its_name():
    found = reading("win\ufeff or win or lose", (0, 3, 1.0), (8, 11, 1.0), (15, 19, 4 / 3))
    assert [(word.text, pytest.approx(word.share)) for word in found.towards] == [("win", 0.6), ("lose", 0.4)]


def test_what_lies_behind_the_shown_text_has_its_share_told():
    text = "a " * 150 + "decisive"
    found = reading(text, (0, 1, 1.0), (300, 308, 3.0), examples="redacted")
    assert (found.unseen, "decisive" in str(found.towards)) == (pytest.approx(0.75), False)
    assert found.words[0].style == "for2", "beside the strongest word, shown or not"
    long = "b" + " c" * LOOKED_AT
    assert reading(long, (0, 1, 1.0), (len(long) - 1, len(long), 1.0)).unseen == pytest.approx(0.5)


@pytest.mark.parametrize("examples", ["redacted", "full"])
def test_texts_of_every_size_and_shape_have_a_reading(examples):
    for text in ("", " ", "e" + "\u0301" * 10_000, "x" * 10_000_000, "9 " * 5_000_000, "👩\u200d💻" * 3_000):
        found = reading(text, (0, 1, 1.0), (0, min(len(text), 20_000), -0.5), (5, 5, 1.0), examples=examples)
        assert sum(len(word.text) for word in found.words) <= FULL_LENGTH
    assert reading("no spans at all").towards == ()
    assert reading("past the end", (0, 99, 1.0)).towards[0].share > 0
