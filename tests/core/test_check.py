"""The plan that `contender check` prints: whatever the data holds, it is short, true, and no exception."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from desk import PIPELINE, tickets, write_tickets

from contender.check import Plan, check
from contender.errors import ModelError
from contender.loading import load_pipeline
from contender.registry.ledger import Comparison
from contender.run import open_run


@pytest.fixture
def desk(tmp_path: Path, tiny_base: Path) -> Path:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    return tmp_path


def plan(desk: Path, *overrides: str) -> Plan:
    return check(load_pipeline(desk / "desk.yaml", overrides))


@pytest.mark.parametrize(("rows", "overrides"), [(1, ()), (20, ("data.split={test: 0.01, validation: 0.01}",))])
def test_too_few_rows_to_fill_a_set_can_show_no_gain(desk: Path, rows: int, overrides: tuple[str, ...]) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(rows, seed=1))
    found = plan(desk, *overrides)
    assert (found.expected_rows["test"], found.smallest_gain) == (0, None)
    assert any("no gain" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (pa.array([True, False] * 9), {"true", "false"}),
        (pa.array([0.0, 1.5] * 9), {"0", "1.5"}),
        (
            pa.array([2**60, 0] * 9, pa.timestamp("us")),
            {"<value out of range: 1152921504606846976>", "1970-01-01 00:00:00.000000"},
        ),
        (pa.array(["red", None, "blue"] * 6), {"red", "blue"}),
    ],
    ids=["booleans", "numbers", "far dates", "nulls"],
)
def test_labels_are_shown_as_a_run_uses_them(desk: Path, labels: pa.Array, shown: set[str]) -> None:
    texts = [f"word{n}" for n in range(len(labels))]
    pq.write_table(pa.table({"body": texts, "colour": labels}), desk / "tickets" / "1.parquet")
    assert set(plan(desk).labels) == shown


def test_ten_megabytes_in_a_label_are_shown_in_a_few_characters(desk: Path) -> None:
    long = "x" * 10_000_000
    write_tickets(desk / "tickets" / "1.csv", [*tickets(30, seed=1), ("a", long), ("b", f"{long} too")])
    found = plan(desk)
    assert len(found.labels) == 5 and sum(found.labels.values()) == 32
    assert len(found.to_bytes()) < 3_000
    assert any("2 labels have a single row" in warning for warning in found.warnings)


def test_the_warning_about_a_file_left_out_is_short(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(30, seed=1))
    deep = desk / "tickets" / "/".join(["x" * 200] * 9)
    deep.mkdir(parents=True)
    (deep / "notes.txt").write_text("")
    (warning,) = [warning for warning in plan(desk).warnings if warning.startswith("skipped")]
    assert len(warning) < 500 and "not one of the formats" in warning


def test_what_the_next_look_can_show_follows_the_ledger(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(2_000, seed=1))
    first = plan(desk)
    (look,) = first.looks
    assert (look.set, look.generation, look.look) == ("test", 1, 1) and look.units == first.expected_rows["test"]
    assert first.smallest_gain == look.smallest_gain

    registry = open_run(load_pipeline(desk / "desk.yaml"), "").registry
    for name in "abc":
        comparison = Comparison(name, "champion", "digest", "rule")
        registry.look("test", comparison, np.arange(look.units, dtype=np.uint64), 0.95, lambda units: units > 100)
    later = plan(desk)
    assert (later.looks[0].look, later.looks[0].generation) == (4, 1)
    assert later.smallest_gain > first.smallest_gain
    assert "(look 4 of generation 1)" in dict(later.lines())["judged on"]

    write_tickets(desk / "tickets" / "2.csv", tickets(8_000, seed=2))
    fresh = plan(desk).looks[0]
    assert (fresh.generation, fresh.look) == (2, 1)
    assert fresh.units < plan(desk).expected_rows["test"]
    assert (
        plan(desk, "promote.versus_champion={any: [{}, {min_gain: 0.01}]}").smallest_gain > fresh.smallest_gain + 0.01
    )


def test_schedules_and_triggers_are_told_before_anything_is_deployed(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(30, seed=1))
    assert [name for name, _ in plan(desk).lines()][-1] == "now"
    found = plan(
        desk,
        "schedule=[{name: nightly, cron: 0 3 * * *, timezone: Asia/Kathmandu}, {interval: 6h, paused: true}]",
        "triggers={new_data: {every: 5m, min_rows: 500, min_files: 2}, degradation: {bound: 0.9},"
        " webhook: {scheme: basic, secrets: ['env:HOOK']}}",
    )
    assert [(one.name, one.paused, len(one.next)) for one in found.schedules] == [
        ("nightly", False, 3),
        ("schedule-2", True, 3),
    ]
    nightly, paused, *told = [text for _, text in found.lines()[-5:]]
    assert nightly.count(" 03:00 +0545") == 3
    assert "paused" in paused
    assert told == [
        "looks every 300 s; 500 rows or 2 files must be new",
        "accuracy of the champion on 100 new labelled rows, against 0.9",
        "POST /hooks/desk, scheme basic",
    ]


def test_a_budget_is_told_beside_the_steps(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(30, seed=1))
    assert dict(plan(desk).lines())["training"].endswith(" steps")
    assert dict(plan(desk, "resources.budget.hours=0.5").lines())["training"].endswith(" steps, and 0.5 hours")


def test_who_would_be_told_is_shown_and_who_cannot_be(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(30, seed=1))
    monkeypatch.setenv("HOOK", "https://example.com/s3cr3t")
    monkeypatch.delenv("NO_HOOK", raising=False)
    told = "notify=[{on: [failed], to: [env:HOOK]}, {to: [env:NO_HOOK, block:slack-webhook/ml]}]"
    found = plan(desk, told)
    everything = "promoted, rejected, failed, budget → env:NO_HOOK, block:slack-webhook/ml"
    assert [text for name, text in found.lines() if name == "notify"] == ["failed → env:HOOK", everything]
    assert [warning for warning in found.warnings if "HOOK" in warning] == [
        "notify.to is env:NO_HOOK, and NO_HOOK is not set: here nobody would be told by it; a worker needs its own"
    ]
    assert "s3cr3t" not in str(found)


def test_a_gain_is_told_of_accuracy_alone_and_other_metrics_by_their_name(desk: Path) -> None:
    write_tickets(desk / "tickets" / "1.csv", tickets(2_000, seed=1))
    found = plan(desk, "evaluate.metrics=[f1_macro, accuracy]")
    (look,) = found.looks
    assert (found.smallest_gain, look.smallest_gain, look.metrics) == (None, None, ("f1_macro",))
    assert "F1 (macro)" in look.text
    assert "accuracy" not in look.text
    assert not any("can show" in warning for warning in found.warnings)
    both = plan(
        desk, "evaluate.metrics=[f1_macro, accuracy]", "promote.versus_champion={all: [{}, {metric: accuracy}]}"
    )
    assert both.smallest_gain is not None
    assert "of accuracy with 80% power" in both.looks[0].text
    assert "F1 (macro)" in both.looks[0].text


def test_columns_of_a_table_that_say_nothing_or_everything_are_named(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    fraud = dice.random(400) < 0.3
    columns = {
        "amount": dice.random(400),
        "shop": ["north"] * 400,
        "refunded": np.where(fraud, "yes", "no"),
        "fraud": fraud,
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    spec = "name: t\ntask: tabular-classification\ndata: {source: rows.parquet, columns: {label: fraud}}\n"
    (tmp_path / "t.yaml").write_text(spec)
    said = " ".join(check(load_pipeline(tmp_path / "t.yaml")).warnings)
    assert "all rows hold the same in 'shop'" in said or "all rows hold the same in shop" in said
    assert "give the label away, and a run would stop: refunded (100.0%)" in said
    assert "amount" not in said
    kept = " ".join(check(load_pipeline(tmp_path / "t.yaml", ("data.features.drop=[refunded, shop]",))).warnings)
    assert "refunded" not in kept
    assert "shop" not in kept


def test_a_base_without_dropout_is_refused_before_a_row_is_read(desk: Path, tiny_base: Path) -> None:
    from transformers import ResNetConfig

    folder = shutil.copytree(tiny_base, desk / "convolutions")
    ResNetConfig().save_pretrained(str(folder))
    with pytest.raises(ModelError, match="has no dropout"):
        plan(desk, f"model.base={folder}", "train.dropout=0.2")


def test_it_says_how_the_trials_of_a_search_would_run_side_by_side(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    write_tickets(desk / "tickets" / "1.csv", tickets(60, seed=1))
    found = plan(desk, "search={}", "resources.parallel=2")
    assert ("side by side", "2 at a time, on 2 cores each") in found.lines()
    assert plan(desk, "search={}").side_by_side is None
    assert plan(desk, "resources.parallel=2").side_by_side is None
