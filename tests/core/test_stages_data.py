"""The snapshot stage: what is kept is what was read, whatever the source did meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import PIPELINE, tickets, write_tickets

from contender.conclusion import _conflicts_place
from contender.errors import DataError, SourceChanged, UsageError
from contender.loading import load_pipeline
from contender.records import SplitReport
from contender.run import Run, open_run
from contender.stages.data import check_quality, dealt, look, split_rows, take_snapshot
from contender.workspace import Staged


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "tickets"
    folder.mkdir()
    write_tickets(folder / "a.csv", tickets(60, seed=1))
    write_tickets(folder / "b.csv", tickets(30, seed=2))
    return folder


def run_in(folder: Path, *overrides: str) -> Run:
    (folder / "desk.yaml").write_text(PIPELINE.format(base="unused"))
    return open_run(load_pipeline(folder / "desk.yaml", overrides), actor="")


def test_a_file_that_was_away_for_a_moment_is_read_by_the_next_run(source: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path)
    seen = look(run)
    (source / "a.csv").rename(tmp_path / "away")
    first = take_snapshot(run, seen)
    assert (first.record.source.rows, first.record.source.skipped[0].path) == (30, "a.csv")
    (tmp_path / "away").rename(source / "a.csv")
    again = take_snapshot(run, look(run))
    assert (again.record.source.rows, again.record.source.skipped) == (90, ())


def test_rows_that_were_read_for_other_bytes_are_not_those_of_the_old_ones(source: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path)
    seen, old = look(run), (source / "a.csv").read_bytes()
    write_tickets(source / "a.csv", tickets(10, seed=3))
    changed = take_snapshot(run, seen)
    assert (changed.record.source.rows, changed.record.digest) == (40, look(run).digest)
    assert take_snapshot(run, look(run)).cached, "what was read is found again by what it was"
    (source / "a.csv").write_bytes(old)
    assert take_snapshot(run, look(run)).record.source.rows == 90


def test_a_source_whose_every_file_went_away_is_worth_another_attempt(source: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path)
    seen = look(run)
    for path in source.iterdir():
        path.rename(tmp_path / path.name)
    (source / "README.txt").write_text("moving")
    with pytest.raises(SourceChanged, match=r"data\.source: tickets/ changed while it was read: a\.csv"):
        take_snapshot(run, seen)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (None, UsageError, r"data\.golden\.hard: hard\.csv does not exist"),
        ("", DataError, r"data\.golden\.hard: hard\.csv holds no file to read: .* empty"),
        ("body,colour\n", DataError, r"data\.golden\.hard: hard\.csv holds no rows"),
        ("body,shade\na,red\n", DataError, r"data\.golden\.hard: hard\.csv has no column 'colour'"),
    ],
)
def test_a_fault_of_a_golden_set_names_it(
    source: Path, tmp_path: Path, content: str | None, error: type[Exception], says: str
) -> None:
    if content is not None:
        (tmp_path / "hard.csv").write_text(content)
    run = run_in(tmp_path, "data.golden={hard: hard.csv}")
    with pytest.raises(error, match=says):
        take_snapshot(run, look(run))


def test_a_split_that_was_found_is_told_like_one_that_was_dealt() -> None:
    rows = {"train": 695, "validation": 74, "test": 125, "golden-hard": 10}
    report = SplitReport(rows=rows, digests={}, removed_leaks=1, removed_duplicates=2, labels=(), label_counts={})
    found = SplitReport.from_bytes(report.to_bytes())
    assert dealt(report) == dealt(found) == "train 695, validation 74, test 125, golden-hard 10; 3 removed"
    more = report.model_copy(update={"removed_near_duplicates": 1_000, "removed_conflicts": 2})
    assert dealt(more).endswith("; 1,003 removed; 2 held-out rows contradict each other")


def test_another_threshold_deals_anew_under_the_same_frozen_definition(source: Path, tmp_path: Path) -> None:
    (tmp_path / "hard.csv").write_text("body,colour\nword1 word2 word3 red,red\nodd,red\nodd,blue\n")
    golden = "data.golden={hard: hard.csv}"

    def dealt(*overrides: str) -> Staged[SplitReport]:
        run = run_in(tmp_path, golden, *overrides)
        snapshot = take_snapshot(run, look(run))
        return split_rows(run, snapshot, check_quality(run, snapshot, None))

    first, off = dealt(), dealt("data.split.near_duplicates=null")
    assert not off.cached and off.key != first.key and off.record.removed_near_duplicates == 0
    assert dealt().cached and dealt("data.split.near_duplicates=0.85").key == first.key
    assert first.record.digests["test"] == off.record.digests["test"]
    assert (first.record.removed_conflicts, first.record.rows["golden-hard"]) == (2, 1)
    listed = Path(_conflicts_place(first)["conflicts"]).read_text().splitlines()
    assert listed[1:] == ["hard.csv,2,golden-hard,red,odd", "hard.csv,3,golden-hard,blue,odd"]
