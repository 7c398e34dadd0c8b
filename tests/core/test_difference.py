"""Two releases side by side: what is told, and that no name in it acts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noisy import noise_report
from reports import Page, table

from contender.errors import Damaged
from contender.records import Evaluation, ReleaseManifest, SetEvaluation
from contender.registry import Registry
from contender.reporting.difference import Change, Difference, SameRows, Side, difference, render_difference, same_rows
from contender.store import MemoryStore

EVIL = "<script>alert(1)</script>\u202e'\"&"


def side(
    name: str, files: dict[str, str] | None, accuracy: float | None = None, rows: str = "d", **lineage: object
) -> Side:
    manifest = ReleaseManifest(
        kind="k", columns={}, label_names=("a",), release=name, digest=name, files=(), created="now", lineage=lineage
    )
    held = SetEvaluation(set="test", set_digest=rows, rows=10, metrics={"accuracy": accuracy or 0.0})
    evaluation = Evaluation(
        evaluation="e", release=name, champion=None, device="cpu", dtype="fp32", challenger_sets=(held,)
    )
    return Side(name, manifest, files, evaluation if accuracy else None)


def test_what_differs_is_told_and_what_does_not_is_not():
    a = side("a", {"1.csv": "x", "2.csv": "y", "3.csv": "z"}, 0.8, seed=17, versions={"torch": "2.1"}, rows_of=None)
    b = side("b", {"1.csv": "x", "2.csv": "other", "4.csv": "w"}, 0.9, rows="e", seed=18, versions={"torch": "2.1"})
    found = difference(a, b)
    assert found.files is not None
    assert (found.files.added, found.files.removed, found.files.rewritten) == (("4.csv",), ("3.csv",), ("2.csv",))
    assert found.files.unchanged == 1
    assert found.environment == (Change(name="seed", a="17", b="18"),)
    (metric,) = found.metrics
    assert metric.difference is not None and abs(metric.difference - 0.1) < 1e-9
    assert metric.same_rows is False


def test_a_nested_spec_is_compared_key_by_key_and_a_missing_side_is_a_dash():
    a = side("a", None, spec={"train": {"epochs": 3, "seed": 1}, "quality": {"suite": None}})
    b = side("b", {}, 0.5, spec={"train": {"epochs": 5, "seed": 1}, "quality": {"suite": "x"}, "new": True})
    found = difference(a, b)
    assert found.spec == (
        Change(name="train.epochs", a="3", b="5"),
        Change(name="quality.suite", a="–", b="x"),
        Change(name="new", a="–", b="True"),
    )
    assert found.files is None
    assert (found.metrics[0].a, found.metrics[0].difference) == (None, None)


def test_the_search_that_chose_a_spec_is_told_beside_it_and_older_releases_have_none():
    a = side("a", None, spec={"search": None})
    b = side("b", None, spec={"search": None}, search={"method": "random", "chosen": 3})
    assert difference(a, b).spec == (
        Change(name="search.method", a="–", b="random"),
        Change(name="search.chosen", a="–", b="3"),
    )
    assert difference(a, a).spec == ()


def test_what_seeds_alone_move_is_told_beside_what_differs_on_the_set_it_was_measured_on():
    noise = noise_report([0.80, 0.81, 0.82])
    found = difference(side("a", None, 0.8), side("b", None, 0.81), noise)
    assert (found.metrics[0].noise, found.noise) == (noise.spreads["accuracy"].band, noise)
    page = render_difference(found)
    assert page.count('<rect class="seed-band"') == 2
    assert "seed ±2.8 points" in page and "over 3 seeds" in page


def test_where_nothing_differs_or_was_measured_there_is_no_word_of_seeds():
    a, b = side("a", None, 0.8), side("b", None, 0.81)
    for found in (
        difference(a, b),
        difference(a, side("b", None, 0.8), noise_report([0.8, 0.9])),
        difference(a, b, noise_report([0.8, 0.9], set="golden-hard")),
    ):
        assert (found.noise, found.metrics[0].noise) == (None, None)
        page = render_difference(found).split("</style>")[1]
        assert "seed" not in page and "better" not in page


def test_no_name_in_the_page_acts():
    evil = Difference(
        a=EVIL,
        b=EVIL,
        same_model=True,
        data=(Change(name=EVIL, a=EVIL, b=EVIL),),
        files=None,
        spec=(),
        metrics=(),
        environment=(Change(name=EVIL, a=EVIL, b=EVIL),),
    )
    page = render_difference(evil)
    assert "<script" not in page and "\u202e" not in page
    assert "default-src 'none'" in page


LABELS = ["a", "b", EVIL] * 20
OURS, THEIRS = table(LABELS, ["a", "b", "b"] * 20), table(LABELS, ["a", "a", EVIL] * 20)


def kept(registry: Registry, folder: Path, release: str, champion: str | None, digest: str) -> Side:
    """A side whose evaluation is in the registry: OURS are the release's outcomes, THEIRS its champion's."""
    tables = {"challenger": OURS} | ({"champion": THEIRS} if champion else {})
    named = [
        one.append_column("set", pa.array(["test"] * one.num_rows)).append_column(
            "model", pa.array([role] * one.num_rows)
        )
        for role, one in tables.items()
    ]
    files = folder / release
    files.mkdir()
    pq.write_table(pa.concat_tables(named), files / "outcomes.parquet")
    held = SetEvaluation(set="test", set_digest=digest, rows=60, metrics={"accuracy": 0.5})
    evaluation = Evaluation(
        evaluation="e", release=release, champion=champion, device="cpu", dtype="fp32", challenger_sets=(held,)
    )
    registry.save_evaluation(evaluation, files)
    return Side(release, side(release, None).manifest, None, evaluation)


A, B, C = (f"r-{letter * 16}" for letter in "abc")


def test_releases_that_answered_the_same_rows_are_compared_row_by_row(tmp_path: Path) -> None:
    registry = Registry(MemoryStore(), "desk")
    a, b = kept(registry, tmp_path, A, None, "old rows"), kept(registry, tmp_path, B, A, "new rows")
    rows = same_rows(registry, registry, a, b)
    assert rows is not None and (rows.set, rows.a, rows.b) == ("test", THEIRS, OURS)
    back = same_rows(registry, registry, b, a)
    assert back is not None and (back.a, back.b) == (OURS, THEIRS)
    c = kept(registry, tmp_path, C, None, "new rows")
    other = same_rows(registry, registry, c, b)
    assert other is not None and (other.a, other.b) == (OURS, OURS)
    assert same_rows(registry, registry, a, c) is None, "other rows"
    assert same_rows(registry, registry, a, side("x", None)) is None, "never evaluated"


def test_a_damaged_file_of_outcomes_is_said(tmp_path: Path) -> None:
    store = MemoryStore()
    registry = Registry(store, "desk")
    a, b = kept(registry, tmp_path, A, None, "old rows"), kept(registry, tmp_path, B, A, "new rows")
    store.corrupt(f"desk/evaluations/{B}/e/outcomes.parquet")
    with pytest.raises(Damaged, match="other content"):
        same_rows(registry, registry, a, b)


def test_the_page_shows_confusion_and_calibration_of_both_and_no_label_acts() -> None:
    found = difference(side("a", None, 0.8), side("b", None, 0.7))
    page = Page(render_difference(found, SameRows("test", THEIRS, OURS, labelled=True)))
    assert page.open == [] and "script" not in page.tags
    assert "Both answered the same 60 rows of test" in page.text
    assert "20 rows broken by the second 20 rows fixed by it 20 rows that both have right 0" in page.text
    assert "calibration error of the second release, over 60 rows" in page.text
    assert "Row by row" not in Page(render_difference(found)).text


def test_the_page_confuses_no_labels_where_answers_are_texts() -> None:
    found = difference(side("a", None, 0.8), side("b", None, 0.7))
    page = Page(render_difference(found, SameRows("test", THEIRS, OURS, labelled=False)))
    assert "20 rows broken by the second" in page.text
    assert "Confusion" not in page.text and "alibration" not in page.text
