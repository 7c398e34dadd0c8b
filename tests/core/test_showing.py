"""The pages that stages leave: what they say, that hostile text stays text, and that each has an end."""

from __future__ import annotations

import re
from typing import Any

import pytest

from contender.links import Link
from contender.newdata import Change
from contender.records import (
    CurvePoint,
    Evaluation,
    ExpectationResult,
    FileSet,
    QualityReport,
    ReleaseManifest,
    RuleResult,
    SetEvaluation,
    SkippedFile,
    Snapshot,
    SourceFile,
    SplitReport,
    TrainReport,
    Verdict,
)
from contender.reporting.comparison import MetricRow
from contender.run import RunResult, StageTime
from contender.showing.data import changes_page, quality_page, snapshot_page, split_page
from contender.showing.markdown import PAGE_BYTES, bar, page, table
from contender.showing.model import candidates, leaderboard, training_page
from contender.showing.verdict import comparison_page, result_page, verdict_page
from contender.text import blocks

HOSTILE = (
    "<script>alert(1)</script> [x](javascript:alert(1)) ![i](https://evil.example/i) "
    "\x1b[31m \u202e | `c` www.evil.example a@b.example"
)
HUGE = "A" * 10_000_000


def shows_nothing_that_acts(text: str) -> None:
    """No tag, no link or picture that is not ours, no bare address, no control or direction character, no page without end."""
    assert not re.search(r"<(?!!---->|https?://127\.0\.0\.1)", text), text
    assert not re.search(r"(?<!\\)\]\((?!<http://127\.0\.0\.1)", text), text
    assert not re.search(r"(https?:|www)(?!<!---->)(//|\.)(?!127)", text), text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert len(text.encode()) <= PAGE_BYTES + 100


def rows_of(text: str) -> list[list[str]]:
    """The cells of every table's row, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def files(*names: str, rows: int = 10) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(path=name, size=1_000, sha256=name[:40], rows=rows) for name in names)


def a_rule(**changes: Any) -> RuleResult:
    given: dict[str, Any] = {
        "rule": "superior:accuracy", "kind": "comparison", "set": "test", "metric": "accuracy", "estimate": 0.1, "low": 0.05,
        "high": 0.15, "threshold": 0.0, "rows": 400, "outcome": "passed", "sentence": "Better.",
    }  # fmt: skip
    return RuleResult(**given | changes)


# --- the pieces -------------------------------------------------------------------------------------------------------


def test_a_table_is_cut_and_says_how_many_rows_it_left_out() -> None:
    text = table(("a", "b"), [(f"x{n}", n) for n in range(60)], most=50)
    assert len(rows_of(text)) == 2 + 50
    assert text.splitlines()[1] == "| --- | ---: |"
    assert text.endswith("and 10 more")
    assert table(("a",), []) == ""


def test_a_page_has_an_end() -> None:
    text = page(*["x" * 999] * 1_000)
    assert len(text.encode()) <= PAGE_BYTES + 100 and text.endswith("the rest is left out.")


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (0.001, ""), (0.5, "█" * 10), (1.0, "█" * 20), (7.0, "█" * 20)]
)
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share) == drawn


def test_a_line_of_blocks_is_never_longer_than_asked_for_and_ends_at_the_last_value() -> None:
    assert blocks([]) == ""
    assert blocks([1.0, 1.0]) == "██"
    drawn = blocks([float(n) for n in range(1_000)])
    assert len(drawn) <= 40 and drawn[-1] == "█" and list(drawn) == sorted(drawn)


# --- data -------------------------------------------------------------------------------------------------------------


def test_new_files_stand_first_and_left_out_ones_have_their_reason() -> None:
    seen = Snapshot(
        source=FileSet(files=files("a.csv", "b.csv"), skipped=(SkippedFile(path="c.tmp", reason="hidden"),))
    )
    text = snapshot_page(seen, Snapshot(source=FileSet(files=files("a.csv"))))
    assert "20 rows in 2 files" in text and "1 of 2 files is new since the champion was trained" in text
    names = [row[2] for row in rows_of(text) if row[1] == "source" and len(row) == 5]
    assert names == ["b.csv", "a.csv"]
    assert ["source", "c.tmp", "hidden"] in rows_of(text)
    assert "There is no champion's data" in snapshot_page(seen, None)


def test_failing_expectations_stand_first_with_their_denominators() -> None:
    def result(name: str, **given: Any) -> ExpectationResult:
        return ExpectationResult(
            expectation=name, column=None, **{"severity": "critical", "success": True, "checked": 4_000} | given
        )

    report = QualityReport(
        suite="s", passed=False, message="12 rows are empty", rows=4_000, quarantined=12, quarantined_by_reason={"empty": 12},
        results=(
            result("held"),
            result("not compared", applicable=False),
            result("a warning", severity="warning", success=False, unexpected=40),
            result("not empty", success=False, unexpected=12, observed="12 unexpected: private row"),
        ),
    )  # fmt: skip
    text = quality_page(report, Link("Data Docs", "http://127.0.0.1/x", ""), "/w/quarantine.csv")
    assert [row[2] for row in rows_of(text) if len(row) == 4][2:4] == ["not empty", "a warning"]
    assert "private row" not in text, "what rows hold stays in the workspace"
    assert "12 of 4,000 \\(0.3%\\)" in text and "1 of 3 expectations hold" in text
    assert (
        "[Data Docs](<http://127.0.0.1/x>)" in text and "/w/quarantine.csv" in text and ["empty", "12"] in rows_of(text)
    )
    assert quality_page(report, Link("Data Docs", None, "/w/index.html"), None).count("/w/") == 1


def test_what_was_removed_so_that_nothing_leaks_is_counted() -> None:
    split = SplitReport(
        rows={"golden-hard": 20, "test": 80, "train": 200}, digests={}, removed_leaks=3, removed_near_duplicates=4,
        removed_duplicates=5, removed_conflicts=6, labels=("a", "b"), label_counts={"train": {"a": 150, "b": 50}, "test": {"a": 80}},
    )  # fmt: skip
    cells = rows_of(split_page(split))
    assert [row[0] for row in cells[2:5]] == ["train", "test", "golden-hard"]
    assert [row[1] for row in cells if len(row) == 2][2:] == ["3", "4", "5", "6"]
    assert ["a", "150", "80", "0"] in cells and ["b", "50", "0", "0"] in cells


# --- model ------------------------------------------------------------------------------------------------------------


def a_training(points: int) -> TrainReport:
    curve = tuple(
        CurvePoint(step=n, epoch=n / 100, loss=1 / (n + 1), metrics={"accuracy": 0.5 + n / 4000} if n % 10 == 0 else {})
        for n in range(points)
    )
    return TrainReport(
        steps=points, epochs=2.0, examples=16 * points, seconds=192.0, examples_per_second=83.0, learning_rate=3e-4, batch_size=16,
        precision="bf16", precision_reason="this processor has AMX", device="cpu", best_metric=0.93, best_step=points, curve=curve,
    )  # fmt: skip


def test_a_long_curve_is_a_line_and_twenty_points_that_end_at_the_last_validation() -> None:
    text = training_page(a_training(1_000), "accuracy")
    assert "1,000 steps in 3 min 12 s" in text and "**93.0%**" in text
    points = [row for row in rows_of(text) if len(row) == 4 and row[0].replace(",", "").isdigit()]
    assert len(points) == 20 and points[-1][0] == "990" and all(map(all, points))
    assert {"training loss", "validation accuracy"} <= {row[0] for row in rows_of(text)}
    assert training_page(a_training(0).model_copy(update={"best_metric": None}), "accuracy")


def release(name: str, base: str = "base") -> ReleaseManifest:
    return ReleaseManifest(release=name, digest="d", files=(), created="", kind="k", columns={}, lineage={"base": base})


def evaluated(value: float) -> tuple[SetEvaluation, ...]:
    return tuple(
        SetEvaluation(set=name, set_digest="", rows=100, metrics={"log_loss": 1 - value, "accuracy": value})
        for name in ("golden-hard", "test")
    )


@pytest.mark.parametrize(("primary", "first"), [("accuracy", "r-2"), ("log_loss", "r-2")])
def test_the_leaderboard_begins_with_the_best_on_the_set_that_is_judged_on(primary: str, first: str) -> None:
    found = Evaluation(
        evaluation="e", release="r-1", champion="r-2", device="cpu", dtype="fp32", challenger_sets=evaluated(0.8),
        champion_sets=evaluated(0.9),
    )  # fmt: skip
    models = candidates(found, release("r-1"), release("r-2"), "test")
    cells = rows_of(leaderboard(models, primary))
    assert [row[1] for row in cells[2:]] == [f"**{first}**", "r-1"]
    assert cells[2][2] == "champion"
    alone = candidates(found.model_copy(update={"champion_sets": ()}), release("r-1"), None, "test")
    assert [row[1] for row in rows_of(leaderboard(alone, primary))[2:]] == ["**r-1**"]


# --- verdict ----------------------------------------------------------------------------------------------------------


def test_a_difference_stands_with_its_interval_and_what_it_says() -> None:
    better = MetricRow("accuracy", "Accuracy", True, True, 0.9, 0.8, 0.05, 0.15, None, "95%")
    worse = MetricRow("log_loss", "Log loss", False, False, 0.5, 0.4, 0.05, 0.15, None, "95%")
    cells = rows_of(comparison_page([("test", 400, [better, worse])], "r-1"))
    assert cells[2] == [
        "Accuracy",
        "90.0%",
        "80.0%",
        "**\\+10.0 points**",
        "\\+5.0 points to +15.0 points",
        "95%",
        "▲ better",
    ]
    assert cells[3][-1] == "▼ worse"
    first = MetricRow("accuracy", "Accuracy", True, True, 0.9, None, 0.87, 0.93, None, "95%")
    assert rows_of(comparison_page([("test", 400, [first])], None))[2][2:5] == ["–", "–", "87.0% to 93.0%"]


def test_a_verdict_begins_with_its_sentence_and_has_every_rule_that_was_judged() -> None:
    rules = (a_rule(), a_rule(outcome="failed", kind="guard", slice="channel=mail"), a_rule(outcome="reported"))
    text = verdict_page(Verdict(verdict="KEEP", sentence="It is worse.", rules=rules, judged_against=1))
    assert text.startswith("## – KEEP: the champion stays\n\n**It is worse.**")
    assert [row[:3] for row in rows_of(text)[2:]] == [
        ["✓ passed", "Better than the champion: accuracy on test, a gain above 0", "test"],
        ["**✗ failed**", "Guard: accuracy on channel=mail, no drop beyond 0.0 points", "test, channel=mail"],
    ]
    assert "1 rule had too few rows" in text


def a_result(**given: Any) -> RunResult:
    stage = StageTime(name="train", key="abc", cached=True, seconds=0)
    return RunResult(
        **{"pipeline": "desk", "outcome": "promoted", "message": "Better.", "seconds": 3.0, "stages": (stage,)} | given
    )


def test_a_result_links_to_what_can_be_opened_and_says_where_the_rest_is() -> None:
    links = [Link("Report", "http://127.0.0.1/r", ""), Link("Data Docs", None, "/w/index.html")]
    text = result_page(a_result(release="r-2", champion="r-1", alias_entry=2), "production", links)
    assert "- [Report](<http://127.0.0.1/r>)\n- Data Docs:\n\n  ```\n  /w/index.html\n  ```" in text
    assert ["alias production", "entry 2"] in rows_of(text) and ["champion before", "r-1"] in rows_of(text)
    assert ["train", "found in the workspace", "abc"] in rows_of(text)


@pytest.mark.parametrize(
    "outcome", ["promoted", "kept", "inconclusive", "superseded", "rejected_data", "up_to_date", "skipped"]
)
def test_every_outcome_that_a_run_comes_to_has_a_page(outcome: str) -> None:
    assert result_page(a_result(outcome=outcome), "production", []).startswith("## ")


# --- hostile text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [HOSTILE, HUGE, f"{HUGE}{HOSTILE}", "\n".join([HOSTILE] * 1_000)])
def test_no_page_lets_text_from_outside_act(text: str) -> None:
    source = FileSet(files=files(text), skipped=(SkippedFile(path=text, reason=text),))
    expectation = ExpectationResult(
        expectation=text, column=text, severity="critical", success=False, checked=1, observed=text, sentence=text
    )
    report = QualityReport(
        suite=text,
        passed=False,
        message=text,
        rows=1,
        quarantined=1,
        quarantined_by_reason={text: 1},
        results=(expectation,),
    )
    split = SplitReport(
        rows={"train": 1},
        digests={},
        removed_leaks=0,
        removed_duplicates=0,
        labels=(text,),
        label_counts={"train": {text: 1}},
    )
    rule = a_rule(slice=f"channel={text}", sentence=text)
    training = a_training(3).model_copy(update={"notes": (text,), "device": text})
    found = Evaluation(
        evaluation="e", release="r-1", champion=None, device="cpu", dtype="fp32", challenger_sets=evaluated(0.8)
    )
    every = [
        snapshot_page(Snapshot(source=source), None),
        quality_page(report, Link("Data Docs", None, text), text),
        split_page(split),
        changes_page([Change("source", "new", files(text)[0])], text),
        training_page(training, "accuracy"),
        leaderboard(candidates(found, release("r-1", text), None, "test"), "accuracy"),
        verdict_page(Verdict(verdict="KEEP", sentence=text, rules=(rule,), judged_against=0, composition=text)),
        result_page(a_result(message=text, release=text, registry=text), "production", [Link(text, None, text)]),
    ]
    for one in every:
        shows_nothing_that_acts(one)


def test_many_files_labels_and_rules_have_an_end() -> None:
    names = [f"{n:06}-{'x' * 300}" for n in range(5_000)]
    seen = Snapshot(source=FileSet(files=files(*names)))
    split = SplitReport(
        rows={"train": 1}, digests={}, removed_leaks=0, removed_duplicates=0, labels=tuple(names), label_counts={}
    )
    rules = tuple(a_rule(slice=name) for name in names)
    for text in (
        snapshot_page(seen, None),
        split_page(split),
        verdict_page(Verdict(verdict="KEEP", sentence="", rules=rules, judged_against=0)),
    ):
        assert len(text.encode()) <= PAGE_BYTES + 100 and "more" in text
