"""The report's sections: each says what the outcomes, timings and records say, and no size of them makes a page that does not open."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from chats import turns
from reports import EVIL, Page, report_input, table
from scipy.stats import beta

from contender.data.chats import cell_of
from contender.evaluation.latency import summarise
from contender.evaluation.metrics import scores
from contender.evaluation.outcomes import from_table, shared_codes
from contender.records import AliasEntry, Decision, FileSet, Snapshot, SourceFile
from contender.reporting.calibration import reliability, reliability_chart
from contender.reporting.confusion import MARKED, MOST_CONFUSED, SHADES, confusion_matrix
from contender.reporting.data import History
from contender.reporting.findings import find
from contender.reporting.history import history_chart, story
from contender.reporting.report import render_report
from contender.reporting.timings import latency_chart

HOSTILE = (
    "<script>document.title='owned'</script>",
    "](javascript:alert(1))",
    "\x1b[31m\x07red",
    "\u202egnp.exe\u202c",
)


def both(labels, ours, theirs=None):
    one = from_table(table(labels, ours))
    return (one, None) if theirs is None else shared_codes(one, from_table(table(labels, theirs)))


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "role", "cell", "said"),
    [
        ("token-classification", "tokens", '["Trains", "to", "Oslo"]', "Trains to Oslo"),
        ("text-generation", "messages", cell_of(turns("user: Why?", "assistant: So.")), "Why?"),
        (
            "text-generation",
            "messages",
            cell_of(turns("user: Call 0150", "assistant: b", "user: <b>", "assistant: c")),
            "user: Call #### · assistant: b · user: &lt;b&gt;",
        ),
    ],
)
def test_an_example_in_json_is_shown_as_people_read_it(tmp_path, kind, role, cell, said):
    data = report_input(tmp_path, labels=("a", "b"), texts=[cell] * 60, champion=False, examples="redacted")
    rows = pa.ipc.open_stream(data.rows.read_bytes()).read_all().rename_columns([role, "channel"])
    with pa.OSFile(str(data.rows), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as out:
        out.write_table(rows)
    release = data.release.model_copy(update={"kind": kind})
    assert f'<bdi class="text">{said}</bdi>' in render_report(replace(data, release=release))


@pytest.mark.parametrize(
    ("examples", "said"),
    [("none", None), ("redacted", "Call ####, or [e-mail]"), ("full", "Call 0150, or a@b.example")],
)
def test_a_written_answer_is_text_of_a_row_and_shown_as_one(tmp_path, examples, said):
    answer = "Call 0150, or a@b.example"
    data = report_input(tmp_path, labels=(answer, f"{answer} again"), champion=False, examples=examples)
    page = render_report(
        replace(
            data,
            release=data.release.model_copy(update={"kind": "summarization", "label_names": ()}),
            split=data.split.model_copy(update={"labels": (), "label_counts": {}}),
            quality=data.quality.model_copy(update={"label_shares": {}}),
        )
    )
    assert (answer in page) == (examples == "full")
    assert said is None or f"<span>reference <b><bdi>{said}</bdi></b></span>" in page


def test_a_model_that_says_no_confidence_has_none_in_its_examples(tmp_path):
    data = report_input(tmp_path, champion=False)
    found = find(replace(data, outcomes=data.outcomes.drop_columns(["confidence"])))
    assert found.wrong and {example.confidence for example in found.wrong} == {None}


# --- confusion --------------------------------------------------------------------------------------------------------


def test_the_matrix_counts_every_row_and_its_lines_add_up_to_the_labels_rows():
    labels = ["a"] * 5 + ["b"] * 3 + ["c"]
    matrix = confusion_matrix(*both(labels, ["a", "a", "a", "b", "c", "b", "b", "a", "c"]))
    assert [row.label for row in matrix.rows] == matrix.columns == ["a", "b", "c"]
    assert [[cell.rows for cell in row.cells] for row in matrix.rows] == [[3, 1, 1], [1, 2, 0], [0, 0, 1]]
    assert [row.rows for row in matrix.rows] == [5, 3, 1]
    assert (matrix.total, matrix.wrong, matrix.others) == (9, 3, 0)
    assert [[cell.right for cell in row.cells] for row in matrix.rows] == np.eye(3, dtype=bool).tolist()
    assert matrix.rows[2].cells[2].shade == SHADES and matrix.rows[1].cells[2].shade == 0
    assert all(cell.change is None and not cell.marked for row in matrix.rows for cell in row.cells)


def test_what_changed_against_the_champion_is_marked_with_its_sign():
    labels = ["a"] * 4 + ["b"] * 4
    ours, theirs = ["a", "a", "a", "b", *"bbbb"], ["a", "b", "b", "b", *"bbba"]
    matrix = confusion_matrix(*both(labels, ours, theirs))
    changes = [[cell.change for cell in row.cells] for row in matrix.rows]
    assert changes == [[2, -2], [-1, 1]]
    assert all(cell.marked for row in matrix.rows for cell in row.cells)
    same = confusion_matrix(*both(labels, ours, ours))
    assert not any(cell.marked for row in same.rows for cell in row.cells), "nothing changed"


def test_of_many_labels_the_most_confused_are_shown_and_the_rest_is_summed_up():
    names = [f"{n:03}" for n in range(77)]
    labels = names * 4
    ours = list(labels)
    ours[0] = ours[77] = ours[154] = "001"  # 000 taken for 001 three times, others once
    ours[5] = "070"
    matrix = confusion_matrix(*both(labels, ours, [*ours[:-1], "003"]))
    assert matrix.labels == ["000", "001", "003", "005", "070", "076"]
    assert len(matrix.labels) <= MOST_CONFUSED and matrix.others == 71
    assert sum(row.rows for row in matrix.rows) == matrix.total == 308
    assert matrix.rows[0].cells[1].rows == 3 and matrix.rows[-1].label is None
    assert matrix.others_right == matrix.rows[-1].rows == 71 * 4
    assert not matrix.rows[-1].cells[-1].right and not matrix.rows[-1].cells[-1].marked
    assert confusion_matrix(*both(labels, labels)) is None, "nothing is confused"


def test_no_more_than_a_few_cells_are_marked_and_labels_stay_few_where_all_are_confused():
    names = [f"{n:03}" for n in range(200)]
    matrix = confusion_matrix(*both(names, names[1:] + names[:1], names[2:] + names[:2]))
    assert len(matrix.labels) <= MOST_CONFUSED
    assert sum(cell.marked for row in matrix.rows for cell in row.cells) <= MARKED


def test_the_page_shows_signs_and_rows_in_the_matrix(tmp_path):
    html = render_report(report_input(tmp_path, labels=("a", "b"), better=8))
    text = Page(html).text
    section = text[text.index("Confusion On test, 3 of 60 rows are wrong") :]
    assert "a 30 28 +3 2 −3 b 30 1 −3 29 +3" in section
    assert html.count('scope="row"') > 6 and "<caption>Rows by label and prediction" in html


# --- calibration ------------------------------------------------------------------------------------------------------


def outcomes(right, confidence):
    labels = ["a"] * len(right)
    made = table(labels, ["a" if one else "b" for one in right])
    return from_table(made.set_column(4, "confidence", pa.array(confidence, pa.float32())))


def test_the_calibration_error_is_that_of_the_metric_and_bins_hold_every_row():
    dice = np.random.default_rng(0)
    for rows in (1, 7, 500):
        confidence = dice.uniform(0, 1, rows)
        found_in = outcomes(dice.uniform(0, 1, rows) < confidence**2, confidence)
        found = reliability(found_in)
        assert found.error == pytest.approx(scores(found_in, ["calibration_error"])["calibration_error"], abs=1e-9)
        assert sum(one.rows for one in found.bins) == found.rows == rows
        assert all(one.low < one.confidence <= one.high + 1e-7 for one in found.bins)
        assert found.gap == pytest.approx(confidence.mean() - found_in.right.mean(), abs=1e-6)


def test_whiskers_are_the_exact_bounds_of_the_share_that_is_right():
    (one,) = reliability(outcomes([True] * 7 + [False] * 3, [0.5] * 10)).bins
    assert one.bounds == pytest.approx((beta.ppf(0.025, 7, 4), beta.ppf(0.975, 8, 3)))
    (sure,) = reliability(outcomes([True] * 10, [1.0] * 10)).bins
    assert (sure.high, sure.accuracy, sure.bounds[1]) == (1.0, 1.0, 1.0)
    chart = reliability_chart(reliability(outcomes([True, False], [0.97, 0.01])))
    assert all(0 < mark.height <= 40 and mark.high <= mark.y <= mark.low for mark in chart.marks)


def test_the_page_names_the_rows_of_every_bin_of_both_models(tmp_path):
    text = Page(render_report(report_input(tmp_path, labels=("a", "b")))).text
    assert "87 to 93% 60 90.0% 57 of 60, 95.0%" in text and "87 to 93% 60 90.0% 51 of 60, 85.0%" in text
    assert "calibration error of the challenger, over 60 rows; on the whole 5.0 points too cautious" in text
    assert "calibration error of the champion, over 60 rows; on the whole 5.0 points too sure" in text


def test_without_confidence_there_is_no_calibration():
    assert reliability(replace(outcomes([True], [0.5]), figures={})) is None


# --- latency ----------------------------------------------------------------------------------------------------------


def timed(data, ours, theirs=None, **hardware):
    timings = pa.table({"challenger": ours} | ({"champion": theirs} if theirs is not None else {}))
    return replace(data, latency=summarise(timings, "cpu", hardware=hardware), timings=timings)


def test_both_models_latencies_are_told_with_bounds_and_drawn_without_the_outlier(tmp_path):
    dice = np.random.default_rng(0)
    ours, theirs = dice.uniform(4, 5, 200), dice.uniform(2, 2.5, 200)
    ours[0] = 5_000.0
    data = timed(report_input(tmp_path), ours, theirs, processor="x86_64, <b>chip", cores="2")
    page = Page(render_report(data))
    assert "200 of test, each answered by both models" in page.text and "x86_64, <b>chip, 2 threads" in page.text
    assert re.search(r"The challenger takes 2\.0\d times as long as the champion \(1\.9\d to 2\.0\d\)", page.text)
    assert "1 of 200 answers of the challenger took longer than the drawing reaches" in page.text
    chart = latency_chart(data)
    assert chart.x.high < 10 and [line.beyond for line in chart.lines] == [1, 0]
    assert all(mark.low <= mark.x <= mark.high for line in chart.lines for mark in line.marks)


def test_few_timings_and_no_champion_have_no_bounds_and_no_ratio(tmp_path):
    lone = Page(render_report(timed(report_input(tmp_path), [2546.98], [30.0])))
    assert "2,547 ms" in lone.text and "times as long" not in lone.text, "of one example nothing follows"
    html = render_report(timed(report_input(tmp_path, champion=False), [3.0, 4.0]))
    assert "too few examples" in html and "times as long" not in html and html.count('class="line"') >= 1
    assert 'id="latency"' not in render_report(report_input(tmp_path))


# --- history ----------------------------------------------------------------------------------------------------------


def decision(n, outcome, release="", accuracy=None, **more):
    return Decision(
        key=f"d{n}", pipeline="p", outcome=outcome, message=f"message {n}", spec_digest="s", snapshot="s", rows=100 * n,
        judged_against=0, release=release or None, metrics={} if accuracy is None else {"accuracy": accuracy},
        seconds=1.0, actor="me", at=f"2026-11-0{n}T10:00:00.000+00:00", **more,
    )  # fmt: skip


def entry(n, release, day, action="promote", by=None):
    return AliasEntry(
        n=n, action=action, release=release, digest="d", reason=f"reason {n}", actor="Ada", writer="w",
        verdict={"decision": by} if by else None, at=f"2026-11-0{day}T10:00:01.000Z",
    )  # fmt: skip


def remembered():
    decisions = (
        decision(1, "promoted", "r-a", 0.80),
        decision(2, "rejected_data"),
        decision(3, "promoted", "r-b", 0.90),
        decision(5, "kept", "r-c", 0.70),
        decision(6, "inconclusive", "r-d", 0.81),
        decision(6, "promoted", "r-x", 0.99, alias="canary"),
    )
    entries = (entry(1, "r-a", 1, by="d1"), entry(2, "r-b", 3, by="d3"), entry(3, "r-a", 4, "rollback"))
    return History(decisions, entries)


def test_the_history_is_a_line_of_what_was_decided_and_live_with_this_verdict_last(tmp_path):
    data = replace(report_input(tmp_path, labels=("a", "b")), history=remembered())
    events = story(data)
    assert [(event.what, event.release, event.value, event.live) for event in events] == [
        ("promoted", "r-a", 0.80, True),
        ("rejected data", "", None, False),
        ("promoted", "r-b", 0.90, True),
        ("rolled back to", "r-a", 0.80, True),
        ("kept", "r-c", 0.70, False),
        ("inconclusive", "r-d", 0.81, False),
        ("inconclusive", "r-2222222222222222", 0.95, False),
    ], "another alias is not this one's, and a release that came back has the value it had"
    chart = history_chart(data)
    assert [(start, end) for start, end, _ in chart.spans] == [
        (chart.dots[0].x, chart.dots[2].x),
        (chart.dots[2].x, chart.dots[3].x),
        (chart.dots[3].x, chart.dots[6].x),
    ]
    page = Page(render_report(data))
    assert (
        "r-a is live as production since 2026-11-04 10:00 UTC, by entry 3: so it stood before this verdict" in page.text
    )
    assert "The newest 7" in page.text and "reason 3 (Ada)" in page.text and page.open == []


def test_a_first_release_has_no_history_and_one_whose_decisions_are_damaged_still_knows_what_is_live(tmp_path):
    data = report_input(tmp_path, champion=False)
    assert 'id="history"' not in render_report(replace(data, history=History((), ())))
    left = replace(data, history=History((), (entry(1, "r-a", 1, by="d1"),)))
    assert (story(left)[0].what, story(left)[0].value) == ("promoted", None)
    assert "r-a is live" in Page(render_report(left)).text


@pytest.mark.parametrize("champion", [True, False])
@pytest.mark.parametrize(
    "outcomes",
    [["kept"], ["rejected_data"], ["kept", "rejected_data", "inconclusive"], ["promoted"], ["promoted", "kept"]],
)
def test_any_history_is_drawn_also_one_in_which_nothing_was_ever_live(tmp_path, outcomes, champion):
    values = {"rejected_data": None}
    decisions = tuple(decision(n, what, f"r-{n}", values.get(what, 0.5)) for n, what in enumerate(outcomes, 1))
    data = replace(report_input(tmp_path, champion=champion), history=History(decisions, ()))
    chart = history_chart(data)
    assert len(chart.dots) == len(outcomes) + 1 and len(chart.spans) == ("promoted" in outcomes)
    assert 'id="history"' in render_report(data)


# --- hostile and large ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_label_message_or_name_acts_in_any_section(tmp_path, evil):
    history = History((decision(1, "promoted", "r-a", 0.8, alias="production").model_copy(update={"message": evil}),),
                      (entry(1, evil, 2).model_copy(update={"reason": evil, "actor": evil}),))  # fmt: skip
    data = report_input(tmp_path, labels=("a", evil, EVIL), texts=[evil + "x"] * 60)
    html = render_report(replace(timed(data, [1.0] * 90, [2.0] * 90, processor=evil), history=history, alias=evil))
    page = Page(html)
    assert page.open == [] and not {"script", "iframe", "img", "object", "form"} & set(page.tags)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert not [one for one in page.attributes if one[1].startswith("on") or one[1] == "style"]


@pytest.mark.slow
def test_the_worst_page_stays_below_three_megabytes(tmp_path):
    labels = tuple(f"{n}{EVIL}{'long ' * 60}" for n in range(1_000))
    data = report_input(
        tmp_path, labels=labels, rows=2_000, texts=[EVIL * 10_000] * 3 + ["\U000e0001a" * 3_000] * 1_997
    )
    files = tuple(
        SourceFile(path=f"{n}/{EVIL * 20}.csv", size=10**7, sha256=f"{n:064}", rows=10**6) for n in range(10_000)
    )
    columns = {f"{n} {EVIL * 9}": {f"{value} {EVIL * 9}": held for value in range(50)} for n, held in _columns(data)}
    held = [one.model_copy(update={"slices": columns}) for one in (data.judged, data.champion_judged)]
    guards = tuple(
        data.verdict.rules[0].model_copy(update={"slice": EVIL * 9, "sentence": EVIL * 30, "outcome": outcome})
        for outcome in ("passed", "failed", "reported")
        for _ in range(3_000)
    )
    results = tuple(data.quality.results[0].model_copy(update={"sentence": EVIL * 500}) for _ in range(1_000))
    evaluation = data.evaluation.model_copy(
        update={"challenger_sets": tuple(held[:1]), "champion_sets": tuple(held[1:])}
    )
    worst = replace(
        timed(data, [1.0] * 200, [2.0] * 200, processor=EVIL * 900),
        evaluation=evaluation,
        verdict=data.verdict.model_copy(update={"rules": guards}),
        quality=data.quality.model_copy(
            update={"results": results, "quarantined_by_reason": {f"{n}{EVIL}": n for n in range(5_000)}}
        ),
        snapshot=Snapshot(source=FileSet(files=files, skipped=data.snapshot.source.skipped * 10_000)),
        champion_files=Snapshot(source=FileSet(files=files[:1])),
        history=History(
            tuple(
                decision(1, "kept", EVIL, 0.5).model_copy(update={"key": f"{n}", "message": EVIL * 90})
                for n in range(50)
            ),
            tuple(entry(n + 1, EVIL * 9, 1) for n in range(50)),
        ),
    )
    html = render_report(worst)
    assert Page(html).open == []
    assert len(html.encode()) < 3_000_000


def _columns(data):
    return [(n, {"rows": 4.0} | data.judged.metrics) for n in range(100)]
