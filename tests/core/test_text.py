"""Text from outside cannot act where it is shown."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from contender.text import ACTING, csv_safe, json_safe, markdown_safe, redact, shorten, terminal_safe, visible

HOSTILE = "\x1b]0;title\x07 \u202egnp.exe\u202c a\u200bb \U000e0041 \ufeff line\nfeed \x9b31m"


@given(st.text())
def test_nothing_that_acts_survives_in_a_terminal_line(text):
    shown = terminal_safe(text)
    acting = {"Cc", "Zl", "Zp", "Cs"}
    assert not [c for c in shown if unicodedata.category(c) in acting]
    assert not [
        c
        for c in shown
        if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    ]


def test_acting_characters_are_shown_as_escapes():
    assert visible(HOSTILE) == (r"\x1b]0;title\x07 \u202egnp.exe\u202c a\u200bb \U000e0041 \ufeff line\nfeed \x9b31m")


def test_plain_text_in_any_script_is_left_as_it_is():
    text = "naïve 注文 مرحبا 👩\u200d💻 می\u200cخواهم"
    assert visible(text) == text


@given(st.text())
def test_a_json_document_stays_the_same_and_holds_nothing_that_acts(text):
    document = json_safe(json.dumps({text: [text]}, ensure_ascii=False, indent=1))
    assert json.loads(document) == {text: [text]}
    assert not ACTING.search(document.replace("\n", ""))
    assert json_safe('"\x7f\x9b\u202e\U000e0041\ud800"') == r'"\u007f\u009b\u202e\udb40\udc41\ud800"'


def test_newlines_stay_where_they_are_asked_for():
    assert terminal_safe("a\nb\x1b", keep_newlines=True) == "a\nb\\x1b"


@given(st.text())
def test_no_cell_begins_a_formula_and_every_cell_stays_one_cell(text):
    cell = csv_safe(text)
    assert not cell.lstrip().startswith(tuple("=+-@＝＋－＠"))
    out = io.StringIO()
    csv.writer(out).writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(out.getvalue()))) == [cell, "next"]


def test_a_formula_is_shown_not_computed():
    assert csv_safe('=HYPERLINK("https://evil.example")').startswith("'=")
    assert csv_safe("  +49 30") == "'  +49 30"
    assert csv_safe("plain") == "plain"


def test_markdown_renders_text_as_it_is():
    text = "[x](javascript:1) ![i](u) <b>&amp; `c` *e* _f_ | # h"
    assert markdown_safe(text) == (r"\[x\]\(javascript:1\) \!\[i\]\(u\) &lt;b&gt;&amp;amp; \`c\` \*e\* \_f\_ \| \# h")
    assert markdown_safe("- list") == r"\- list"
    assert markdown_safe("1. list") == r"1\. list"
    assert markdown_safe("93.1%") == "93.1%"
    assert markdown_safe("two\nlines") == r"two\\nlines"


def test_no_bare_address_becomes_a_link_where_markdown_is_githubs():
    assert (
        markdown_safe("see https://evil.example/x and HTTP://e")
        == "see https<!---->://evil.example/x and HTTP<!---->://e"
    )
    assert markdown_safe("www.evil.example jo@evil.example") == "www<!---->.evil.example jo@<!---->evil.example"
    assert markdown_safe("https is safe, a @ b") == "https is safe, a @ b"


def test_redaction_masks_addresses_and_digits_and_cuts():
    assert redact("mail jo.7@example.com or call 030 ٣٤ ²") == "mail [e-mail] or call ### ## #"
    assert redact("x" * 500) == "x" * 200 + "…"
    assert redact("short") == "short"


def test_an_address_at_the_cut_is_masked_before_it_is_cut():
    text = "a" * 190 + " somebody@example.com tail"
    assert "somebody" not in redact(text)
    long = "b " * 4_995 + "somebody@example.com and more text"
    assert "somebody" not in redact(long, length=20_000)


@given(st.text(max_size=300))
def test_a_redacted_text_has_no_digit_and_is_short(text):
    shown = redact(text)
    assert len(shown) <= 201
    assert not any(c.isdigit() for c in shown)


def test_ten_megabytes_are_redacted_at_once():
    assert redact("9" * 10_000_000) == "…"
    assert len(redact("9 " * 5_000_000)) == 201


def test_shortening_marks_the_cut():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
