"""The report and the model card: one page that stands alone, on which nothing from a row can act."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noisy import noise_report
from reports import EVIL, Page, manifest, report_input, series

from contender.attribution import Attribution, Attributions, Span
from contender.cost import Cost
from contender.records import CurvePoint
from contender.reporting.card import render_card
from contender.reporting.charts import LEFT, RIGHT, WIDTH, Scale, series_charts
from contender.reporting.report import render_report
from contender.reporting.wording import duration, rough, tick


def test_hostile_rows_labels_paths_and_messages_cannot_act(tmp_path):
    html = render_report(report_input(tmp_path, texts=[EVIL] * 60))
    page = Page(html)
    assert not {"script", "iframe", "object", "img", "form", "link", "base"} & set(page.tags)
    assert not [entry for entry in page.attributes if entry[1].startswith("on") or entry[1] in {"style", "src"}]
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
    assert page.text.count("<script>document.title='owned'</script>") >= 8
    assert r"\u202e" in page.text
    assert "49" not in page.text.split("7*7")[1][:10]


def test_every_tag_is_closed(tmp_path):
    for options in ({}, {"champion": False}, {"examples": "none"}, {"curve": False}):
        assert Page(render_report(report_input(tmp_path, **options))).open == []


def test_the_page_loads_nothing_and_its_policy_allows_only_its_own_style(tmp_path):
    html = render_report(report_input(tmp_path))
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(p.split(" ", 1) for p in re.search('Content-Security-Policy" content="([^"]+)"', html)[1].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


@pytest.mark.parametrize(
    ("options", "word", "headline"),
    [
        ({"better": 14}, "PROMOTE", "The challenger earned its place"),
        ({"better": 3}, "INCONCLUSIVE", "Not decided: the champion stays"),
        ({"champion": False}, "PROMOTE", "The first champion"),
    ],
)
def test_the_verdict_comes_first_with_a_mark_that_needs_no_colour(tmp_path, options, word, headline):
    data = report_input(tmp_path, **options)
    html = render_report(data)
    page = Page(html)
    assert data.verdict.verdict == word
    main = page.text[page.text.index(f"{word} · support-intents, judged on 60 rows of test") :]
    assert main.index(headline) < main.index(data.verdict.sentence) < main.index("Metric")
    label = {"PROMOTE": "passed", "INCONCLUSIVE": "undecided"}[word]
    assert ("svg", "aria-label", label) in page.attributes


def test_what_the_page_says_of_a_comparison_is_what_the_outcomes_say(tmp_path):
    text = Page(render_report(report_input(tmp_path, labels=("a", "b"), better=8))).text
    assert (
        "2 rows broken by the challenger 8 rows fixed by it 49 rows that both have right 1 rows that both have wrong"
        in text
    )
    assert "Accuracy 85.0% 95.0% +10.0 points" in text
    assert "New labels 1: b" in text


def test_failing_expectations_stand_first(tmp_path):
    text = Page(render_report(report_input(tmp_path))).text
    gate = text[text.index("Quality gate", 200) :]
    assert gate.index("script", gate.index("Severity")) < gate.index("holds")


SECRET = "call +49 30 1234567 or mail jo.doe@example.com about PURPLEOWL"


def test_no_row_text_where_none_is_wanted(tmp_path):
    html = render_report(report_input(tmp_path, texts=[SECRET] * 60, examples="none"))
    assert "PURPLEOWL" not in html
    assert "Row text is left out" in html


def test_redacted_examples_hold_no_address_and_no_digit(tmp_path):
    html = render_report(report_input(tmp_path, texts=[SECRET] * 60, examples="redacted"))
    assert "PURPLEOWL" in html
    assert "jo.doe" not in html
    assert "1234567" not in html


def test_full_examples_hold_the_text(tmp_path):
    assert "jo.doe@example.com" in render_report(report_input(tmp_path, texts=[SECRET] * 60, examples="full"))


def explained(data, weigh=lambda text: [(0, len(text), 1.0)]):
    """The report's input with every row that may be shown explained; `weigh(text)` gives start, end and weight of its spans."""
    from contender.evaluation.evaluate import read_columns

    texts = read_columns(data.rows, ["text"]).column("text").to_pylist()

    def of(table):
        return tuple(
            Attribution(
                row=row,
                answer=answer,
                spans=tuple(Span(start=a, end=b, weight=w) for a, b, w in weigh(texts[row])),
                gain=1.0,
                gap=0.02 if row else 0.2,
            )
            for row, answer in enumerate(table.column("prediction").to_pylist())
        )

    theirs = data.champion_outcomes
    return replace(
        data, explained=Attributions(challenger=of(data.outcomes), champion=() if theirs is None else of(theirs))
    )


def test_an_error_is_explained_word_by_word_for_both_models_and_without_colour(tmp_path):
    data = report_input(tmp_path, labels=("spam", "ham"), texts=["please win now"] * 60)
    html = render_report(explained(data, lambda text: [(0, 6, -0.5), (7, 10, 3.0), (11, 14, 0.5)]))
    page = Page(html)
    marked = '<span class="against1">please</span> <span class="for4">win</span> <span class="for1">now</span>'
    assert f'<bdi class="text">{marked}</bdi>' in html
    assert "The challenger said ham for win 75%, now 12%; against it stood please 12%." in page.text
    assert "The champion said spam for win 75%" in page.text, "of the rows where only one of them is right"
    assert page.text.count("Rough: the weights miss 20% of what they explain.") == 2, "row 1, for both models"
    assert "Sundararajan et al. 2017" in page.text and "not whether that is a good reason" in page.text
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "underline solid" in style and "text-decoration-style: dotted" in style
    assert page.open == []


def test_counts_of_errors_have_their_denominator(tmp_path):
    text = Page(render_report(report_input(tmp_path, labels=("a", "b")))).text
    assert "Broken by the challenger: 2 of 60 rows" in text
    assert "Wrong under both: 1 of 60 rows" in text
    assert "Fixed by the challenger: 8 of 60 rows, the surest 6 with at most 3 of a kind" in text
    assert "Sundararajan" not in text, "nothing was explained"


def test_explained_rows_cannot_act_and_a_page_of_them_stays_small(tmp_path):
    hostile = [EVIL, "=cmd|' /C calc'!A0 ](javascript:1)", "e" + "\u0301" * 10_000, "\U0001f469\u200d\U0001f4bb " * 900]
    data = report_input(tmp_path, texts=[hostile[row % 4] if row != 1 else "x" * 10**7 for row in range(60)])

    def by_character(text):
        return [(at, at + 1, (-1.0) ** at) for at in range(min(len(text), 3_000))]

    html = render_report(explained(data, by_character))
    page = Page(html)
    assert not {"script", "iframe", "img"} & set(page.tags) and page.open == []
    assert not [entry for entry in page.attributes if entry[1].startswith("on") or entry[1] == "style"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
    assert len(html) < 500_000


def test_an_explanation_shows_no_more_of_a_row_than_the_report_may(tmp_path):
    def of_words(text):
        return [(found.start(), found.end(), 1.0) for found in re.finditer(r"\w+", text)]

    redacted = render_report(explained(report_input(tmp_path, texts=[SECRET] * 60, examples="redacted"), of_words))
    assert '<span class="for4">[e-mail]</span>' in redacted and "for PURPLEOWL" not in redacted
    assert not re.search("jo.doe|example.com|1234567", redacted)
    none = render_report(explained(report_input(tmp_path, texts=[SECRET] * 60, examples="none"), of_words))
    assert "PURPLEOWL" not in none and 'class="for' not in none and "The challenger said" not in none


def test_an_explanation_of_another_answer_is_not_shown(tmp_path):
    data = explained(report_input(tmp_path, labels=("a", "b")))
    other = tuple(one.model_copy(update={"answer": "c"}) for one in data.explained.challenger)
    html = render_report(replace(data, explained=Attributions(challenger=other)))
    assert "The challenger said" not in html


def test_the_training_says_what_it_took_where_that_is_known(tmp_path):
    data = report_input(tmp_path)
    assert "device-hours" not in Page(render_report(data)).text
    cost = Cost(training_seconds=1_440, devices=1, evaluation_seconds=72, price_per_hour=3.5)
    text = Page(render_report(replace(data, cost=cost))).text
    assert "0.42 device-hours: 24 min 0 s of training on 1 device, 1 min 12 s of evaluation" in text
    assert "1.47 0.42 device-hours × 3.50 = 1.47, in the currency of the price" in text
    assert "Energy is not told by this hardware" in text
    free = replace(data, cost=cost.model_copy(update={"price_per_hour": None}))
    assert "currency" not in Page(render_report(free)).text
    told = data.training.model_copy(update={"energy_kwh": 0.0123, "energy_source": "rapl"})
    text = Page(render_report(replace(data, training=told))).text
    assert "12.30 Wh drawn by the processor in the training loop, other work on it included (RAPL)" in text


@pytest.mark.parametrize(
    ("number", "shown"), [(1203.5, "1,203.50"), (0.42, "0.42"), (0.00213, "0.00213"), (1e-9, "< 0.0001"), (0, "0")]
)
def test_costs_have_digits_that_say_something(number, shown):
    assert rough(number) == shown


def test_ten_megabytes_in_a_row_do_not_reach_the_page(tmp_path):
    html = render_report(report_input(tmp_path, texts=["x" * 10_000_000] * 3 + ["y"] * 57, examples="full"))
    assert len(html) < 300_000


def test_a_long_curve_is_drawn_to_its_end(tmp_path):
    data = report_input(tmp_path)
    curve = tuple(CurvePoint(step=step, epoch=0.0, loss=1 / step) for step in range(1, 2_000))
    html = render_report(replace(data, training=data.training.model_copy(update={"curve": curve})))
    (points,) = re.findall('<polyline class="line" points="([^"]+)"', html)
    assert all(re.fullmatch(r"-?[\d.]+,-?[\d.]+", point) for point in points.split(" "))
    assert len(points.split(" ")) > 250 and points.rsplit(" ", 1)[1].startswith(f"{WIDTH - RIGHT:.1f}")


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    data = report_input(tmp_path)
    assert render_report(data) == render_report(replace(data))
    assert render_card(data) == render_card(replace(data))


def test_thousands_of_labels_give_a_page_that_opens(tmp_path):
    labels = tuple(f"label number {n}" for n in range(3_000))
    html = render_report(report_input(tmp_path, labels=labels, rows=6_000))
    assert len(html) < 1_000_000
    assert "and 2,800 more" in html


def test_a_perfect_model_on_one_row_still_has_a_report(tmp_path):
    data = report_input(tmp_path, labels=("a",), rows=30, champion=False)
    html = render_report(data)
    assert "The challenger has every row right" in html


def test_the_card_is_read_by_the_hub_and_rows_cannot_write_its_front_matter(tmp_path):
    from huggingface_hub import ModelCard

    evil = 'x"\n---\nlicense: evil\n'
    text = render_card(report_input(tmp_path, labels=("a", evil, EVIL)))
    card = ModelCard(text, ignore_metadata_errors=False).data.to_dict()
    assert set(card) == {"library_name", "pipeline_tag", "tags", "metrics", "model-index"}
    assert card["pipeline_tag"] == "text-classification"
    results = card["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in results[0]["metrics"]}["accuracy"] == pytest.approx(0.95)
    body = text.split("---\n", 2)[2]
    assert "<script" not in body
    assert "\nlicense" not in body
    assert "](javascript" not in body
    assert "\u202e" not in text


def test_the_monitoring_is_drawn_with_its_bounds_its_drift_and_where_another_champion_begins(tmp_path):
    data = report_input(tmp_path)
    assert 'id="monitoring"' not in render_report(data), "nothing was observed yet"
    seen = series([0.9, 0.92, 0.85, 0.8, 0.93, 0.94], champions=("r-a", "r-b"))
    html = render_report(replace(data, monitoring=seen))
    page = Page(html)
    assert page.open == [] and 'href="#monitoring"' in html
    assert html.count('class="bound"') == 6
    assert html.count('class="zero dashed"') == 2, "once in each of both charts"
    assert "Drift from the champion's data, 0 to 1 labels predictions by chance" in page.text
    assert "80.0% 75.0% to 85.0% 0.18, predicted 0.19, by chance 0.11" in page.text
    one, *_ = series_charts(seen[:1])
    assert one.lines[0].points[0][0] == (LEFT + WIDTH - RIGHT) / 2, "a single point stands in the middle"


def test_observations_cannot_act_and_those_of_another_metric_are_not_on_its_scale(tmp_path):
    seen = (
        *series([0.5], champions=(EVIL,)),
        *series([1.5, 1.4], primary="log_loss", metrics={"log_loss": 1.5}, drift=None),
    )
    html = render_report(replace(report_input(tmp_path, labels=("a", "b")), monitoring=seen))
    page = Page(html)
    assert not {"script", "iframe", "img"} & set(page.tags) and r"\u202e" in page.text
    (chart,) = series_charts(seen)
    assert chart.title.startswith("Log loss") and len(chart.lines[0].points) == 2


def test_the_page_and_the_card_say_what_left_the_split(tmp_path):
    data = report_input(tmp_path)
    html, card = render_report(data), render_card(data)
    assert "because a held-out row has the same text, 1,234 because one has nearly the same" in html
    assert "2 held-out rows because they repeat another, 5 because another has the same key and text" in html
    assert "and 1,234 that nearly do.\n5 held-out rows whose labels contradict each other are not judged on.\n" in card


def test_the_card_names_a_base_model_of_the_hub_and_no_folder(tmp_path):
    data = report_input(tmp_path)
    assert "base_model" not in render_card(data)
    hub = replace(data, release=manifest("r-2222222222222222", ("a",), base="sentence-transformers/all-MiniLM-L6-v2"))
    assert 'base_model: "sentence-transformers/all-MiniLM-L6-v2"' in render_card(hub)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_values_inside_the_scale(low, span):
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 9
    assert all(low - span * 1e-6 <= value <= low + span * (1 + 1e-6) for value in ticks)
    assert ticks == sorted(set(ticks))


def test_axis_values_and_durations_are_short():
    assert [tick(value) for value in (0, 0.05, 2, 1500, -0.5)] == ["0", "0.05", "2", "1,500", "−0.5"]
    assert [tick(value, percent=True) for value in (0.9, 0.925, 1)] == ["90%", "92.5%", "100%"]
    assert [duration(value) for value in (3.2, 59.96, 131, 12_345)] == [
        "3.2 s",
        "1 min 0 s",
        "2 min 11 s",
        "3 h 25 min",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_a_browser_runs_nothing_of_a_row_and_applies_the_style(tmp_path):
    page = tmp_path / "report.html"
    html = render_report(report_input(tmp_path, texts=[EVIL + "w" * 500] * 60))
    page.write_text(html)
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [
        "chromium",
        *flags.split(),
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path}/profile",
    ]
    command += ["--enable-logging=stderr", "--window-size=500,900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "<title>" in done.stdout
    assert "<title>owned" not in done.stdout
    assert "Content Security Policy" not in done.stderr
    assert np.char.count(done.stderr, "CONSOLE") == 0


def test_what_seeds_alone_move_is_drawn_beside_the_difference_and_in_numbers(tmp_path):
    data = replace(report_input(tmp_path), noise=noise_report([0.90, 0.91, 0.92]))
    html = render_report(data)
    page = Page(html)
    assert page.open == []
    assert html.count('<rect class="seed-band"') == 2, "one band for the one metric that was measured, and its key"
    assert "+10.0 points seed ±2.8 points" in page.text
    assert "over 3 seeds, measured on 2026-11-22 on 1,200 rows of test" in page.text
    assert "same model" not in page.text
    still = Page(render_report(replace(data, noise=noise_report([0.9] * 3, models=1)))).text
    assert "+10.0 points seed moved nothing" in still and "Shaded" not in still
    assert "3 seeds moved none of these metrics" in still and "ended in the same model." in still


@pytest.mark.parametrize("changes", [{"noise": None}, {"champion": None}, {"on_other": True}])
def test_without_noise_or_without_a_difference_there_is_no_band_and_no_word_of_it(tmp_path, changes):
    noise = noise_report([0.90, 0.91], **({"set": "golden-hard"} if "on_other" in changes else {}))
    data = replace(report_input(tmp_path, champion="champion" not in changes), noise=changes.get("noise", noise))
    html = render_report(data)
    assert "seed-band" not in html.split("</style>")[1] and "seed ±" not in html and "Shaded" not in html
