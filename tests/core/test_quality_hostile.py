"""What rows hold stays text: in the quarantine file, in Data Docs and in messages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hostile import Tags
from hypothesis import given
from hypothesis import strategies as st

from contender.text import ACTING, MAX_CELL, safe_cell

ATTACKS = [
    "<script>alert('owned')</script>",
    "</div></td></tr></table><img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "<a href=javascript:alert(3)>x</a>",
    "<iframe src=https://example.com></iframe>",
    "<link rel=stylesheet href=https://example.com/x.css>",
    "<style>body{display:none}</style>",
    "</script><script src=//example.com/x.js></script>",
    "$label ${label} $PARAMETER {{7*7}} {% raw %} \\1 \\g<0>",
    '=HYPERLINK("https://example.com")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\x1b]0;title\x07\x1b[31mred",
    "\u202egnp.exe",
    "nul \x00",
    'a,b;"c"\r\nd',
]


@pytest.fixture
def attacked(gate: Any) -> Any:
    fine = [{"text": f"text {i}", "label": "ab"[i % 2], "<img src=x onerror=alert(9)>": "v"} for i in range(40)]
    # Bad as text, as a label, and as a label of the champion: each takes another way into the pages.
    bad = [{"text": f"{attack} \ufffd", "label": "a"} for attack in ATTACKS]
    bad += [{"text": f"other {i}", "label": attack} for i, attack in enumerate(ATTACKS)]
    reference = {"a": 0.4, "b": 0.4, **dict.fromkeys(ATTACKS[:8], 0.025)}
    report = gate(fine + bad, reference_label_shares=reference, columns={"text": "text", "label": "label"})
    return gate, report


def test_data_docs_hold_no_tag_that_came_from_a_row(attacked: Any) -> None:
    gate, _ = attacked
    pages = sorted((gate.out / "data_docs").glob("*.html"))
    assert [page.name for page in pages] == ["expectations.html", "index.html"]
    for page in pages:
        text = page.read_text("utf-8")
        tags = Tags(text).found
        names = {name for name, _ in tags}
        assert not names & {"script", "img", "svg", "iframe", "object", "embed", "link", "form", "base"}, page.name
        attributes = [(key, value) for _, found in tags for key, value in found.items()]
        assert not [key for key, _ in attributes if key.startswith("on")]
        assert not [value for _, value in attributes if value and "javascript:" in value]
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_data_docs_load_nothing_and_forbid_the_rest(attacked: Any) -> None:
    gate, _ = attacked
    for page in (gate.out / "data_docs").glob("*.html"):
        text = page.read_text("utf-8")
        policies = [found for tag, found in Tags(text).found if tag == "meta" and found.get("http-equiv")]
        assert policies[0]["content"].startswith("default-src 'none'")
        links = [found.get("href") or "" for tag, found in Tags(text).found if tag == "a"]
        assert links
        assert not [link for link in links if "//" in link]
        style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
        assert "url(" not in style
        assert "@import" not in style


def test_data_docs_show_the_attacks_as_text(attacked: Any) -> None:
    gate, _ = attacked
    assert "&lt;script&gt;alert(" in (gate.out / "data_docs" / "index.html").read_text("utf-8")


def test_the_quarantine_file_holds_no_formula_and_no_control_character(attacked: Any) -> None:
    gate, report = attacked
    rows = gate.quarantine
    assert len(rows) == report.quarantined >= 2 * len(ATTACKS) - 8
    for row in rows:
        for cell in row.values():
            assert not ACTING.search(cell)
            assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert rows[9]["text"] == '\'=HYPERLINK("https://example.com") \ufffd'
    assert rows[14]["text"] == "\\x1b]0;title\\x07\\x1b[31mred \ufffd"


def test_messages_hold_no_control_character(attacked: Any) -> None:
    _, report = attacked
    assert not ACTING.search(report.message)
    assert not any(ACTING.search(result.observed + result.sentence) for result in report.results)


PRIVATE = "purpleowl"


def quoting(expectation: str, column: str = "text", **kwargs: Any) -> dict[str, Any]:
    return {"type": expectation, "kwargs": {"column": column, **kwargs}, "severity": "warning"}


def test_what_leaves_the_workspace_quotes_no_row_but_labels(gate: Any) -> None:
    suite = [
        quoting("expect_column_values_to_match_regex", regex="^nothing$"),
        quoting("expect_column_distinct_values_to_be_in_set", value_set=["x"]),
        quoting("expect_column_most_common_value_to_be_in_set", value_set=["x"]),
        quoting("expect_column_every_value_to_have_rows", min_rows=5),
        quoting("expect_column_every_value_to_have_rows", "label", min_rows=50),
        quoting("expect_column_max_to_be_between", "n", max_value=1),
    ]
    rows = [{"text": f"{PRIVATE} {i}", "label": "ab"[i % 2], "n": i} for i in range(40)]
    report = gate(rows, {"name": "s", "expectations": [{**one, "severity": "critical"} for one in suite]})
    assert not report.passed and PRIVATE not in report.to_bytes().decode()
    observed = [result.observed for result in report.results]
    assert observed[3:] == [
        "values: 40, with_few_rows: 40",
        "values: 2, with_few_rows: 2, fewest: {'a': 20, 'b': 20}",
        "39",
    ]
    assert PRIVATE in (gate.out / "data_docs" / "index.html").read_text("utf-8"), "who may see rows sees them there"


def test_an_exception_that_quotes_a_row_stays_in_the_workspace(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations quotes none that is known; what a suite's own expectation raises is anybody's guess."""
    from contender.quality import docs, report

    for module in (docs, report):
        monkeypatch.setattr(module, "exception_of", lambda _: f"no number: <svg onload=alert(1)> {PRIVATE} \x1b[2J")
    for severity in ("critical", "warning"):
        one = {**quoting("expect_column_mean_to_be_between", "n", min_value=1), "severity": severity}
        rows = [{"text": f"t {i}", "label": "a", "n": "many"} for i in range(20)]
        found = gate(rows, {"name": "s", "expectations": [one]})
        assert "could not be evaluated: Data Docs say why" in found.message and PRIVATE not in found.to_bytes().decode()
    page = (gate.out / "data_docs" / "index.html").read_text("utf-8")
    assert f"no number: &lt;svg onload=alert(1)&gt; {PRIVATE} \\x1b[2J" in page


def test_a_cell_of_ten_megabytes_is_quarantined_and_not_copied_whole(gate: Any) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(60)]
    report = gate([*rows, {"text": "x" * 10_000_000, "label": "a"}])
    assert report.quarantined_by_reason == {"text of more than 100000 characters": 1}
    (row,) = gate.quarantine
    assert row["text"].endswith("… (10000000 characters)")
    assert len(row["text"]) < MAX_CELL + 50
    assert sum(path.stat().st_size for path in gate.out.rglob("*") if path.is_file()) < 200_000


@given(st.text())
def test_a_safe_cell_neither_acts_nor_computes(text: str) -> None:
    cell = safe_cell(text)
    assert not ACTING.search(cell)
    try:
        float(text)
    except ValueError:
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@given(st.text(alphabet=st.characters(categories=("L", "Nd")), max_size=50))
def test_a_harmless_cell_is_left_as_it_is(text: str) -> None:
    assert safe_cell(text) == (text if not ACTING.search(text) else safe_cell(text))


@pytest.mark.parametrize("value", [-5, 3.5, "-1.5e3", "+7"])
def test_numbers_stay_numbers(value: object) -> None:
    assert safe_cell(value) == str(value)
