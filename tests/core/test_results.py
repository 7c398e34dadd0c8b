"""A verdict as a table: in the words of the report, in any width, and harmless whatever data is in it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from contender.run import RunResult
from contender.verdict import Look, RuleResult, Verdict
from deployments.loudness import Loudness
from deployments.results import show_result, show_rules

EVIL = "channel=\x1b[2J\x1b]0;t\x07 \u202e東京 🗼 and much more"
SENTENCE = "Accuracy on test is shown to be higher: +2.3 points."


def rule(**of: Any) -> RuleResult:
    usual: dict[str, Any] = {"rule": "superior:accuracy", "kind": "comparison", "set": "test", "metric": "accuracy"}
    usual |= {"estimate": 0.0229, "threshold": 0.0, "rows": 1310, "outcome": "passed", "sentence": "it passed"}
    return RuleResult(**usual | of)


RULES = (
    rule(low=0.004, high=0.039, p_value=0.0031, alpha=0.0304),
    rule(rule="floor:accuracy", kind="floor", estimate=0.934, threshold=0.85),
    rule(rule="slice:accuracy", kind="guard", slice=EVIL, estimate=-0.02, threshold=-0.03, low=-0.05, high=0.01,
         p_value=0.2, alpha=0.01, rows=120, outcome="undecided"),
    rule(rule="golden:accuracy", kind="guard", set="golden-hard", estimate=-0.1, threshold=-0.03, low=-0.15,
         high=-0.05, p_value=1e-5, alpha=0.01, rows=120, outcome="failed"),
    rule(rule="latency_p95_ms", kind="guard", metric="latency_p95_ms", estimate=41.23, threshold=50, low=40, high=44.1),
    rule(rule="slice:accuracy", kind="guard", slice="channel=rare", rows=3, outcome="reported"),
)  # fmt: skip
LOOK = Look(set="test", generation=1, look=2, alpha=0.0076, spent=0.76, units=1310)
VERDICT = Verdict(verdict="PROMOTE", sentence=SENTENCE, judged_against=1, rules=RULES, looks=(LOOK,))
EVALUATIONS = {
    "test": {"champion": {"accuracy": 0.911}, "challenger": {"accuracy": 0.934}},
    "golden-hard": {"champion": {"accuracy": 0.8}, "challenger": {"accuracy": 0.7}},
}


def shown(width: int, show: Any, *arguments: Any) -> str:
    out = StringIO()
    show(Console(file=out, width=width, soft_wrap=width >= 1000, _environ={}), *arguments)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_fits_and_says_what_decided(width: int) -> None:
    text = shown(width, show_rules, VERDICT, EVALUATIONS)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert [line[1] for line in lines if line[1:2] in ("✓", "✗", "?")] == ["✓", "✓", "?", "✗", "✓"]
    if width >= 60:
        assert all(
            found in text for found in ("91.1% → 93.4%", "80.0% → 70.0%", "+2.3 points", "+0.4 to +3.9", "41.2 ms")
        )
    if width >= 80:
        assert all(found in text for found in ("0.0031", "of 0.03", "1,310", "< 0.0001"))
    assert "rare" not in text, "too little to judge: the report has it"
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_file_gets_a_rule_on_a_line() -> None:
    lines = shown(1000, show_rules, VERDICT, EVALUATIONS).splitlines()
    assert len(lines) == 1 + 5 + 1
    assert "Better than the champion: accuracy on test, a gain above 0" in lines[1]
    assert (
        lines[1].split()[-12:]
        == ["91.1%", "→", "93.4%", "+2.3", "points,", "+0.4", "to", "+3.9", "0.0031", "of", "0.03", "1,310"][-12:]
    )


def test_a_result_is_told_once_and_in_one_line_where_it_shall_be_quiet() -> None:
    result = RunResult(
        pipeline="p", outcome="promoted", message=SENTENCE, release="r-0123456789abcdef", alias_entry=2,
        verdict=VERDICT, evaluations=EVALUATIONS, seconds=1, report="/a/report.html\x1b[2J",
    )  # fmt: skip
    text = shown(80, show_result, result)
    assert text.count("Accuracy on test is shown") == 1
    assert "r-0123456789abcdef, live by entry 2" in text and "/a/report.html\\x1b[2J" in text
    assert shown(1000, show_result, result, Loudness.QUIET) == f"✓ promoted  {SENTENCE}\n"
    out = StringIO()
    coloured = Console(file=out, width=1000, soft_wrap=True, force_terminal=True, _environ={"TERM": "xterm-256color"})
    show_result(coloured, result, Loudness.QUIET)
    assert out.getvalue() == f"\x1b[1;32m✓ promoted\x1b[0m  {SENTENCE}\n", "the colour is the mark's"
    kept = result.model_copy(update={"outcome": "kept"})
    assert "r-0123456789abcdef, not live" in shown(80, show_result, kept)
