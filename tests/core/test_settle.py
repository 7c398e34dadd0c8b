"""Files that changed a moment ago: what is a moment, by which clock, and what a look does with them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from contender.data.places import Found
from contender.data.source import ARRIVING, ReadOptions, glance, ingest, peek
from contender.errors import SourceChanged
from contender.store import open_store

CSV = "text,label\nhello,a\nworld,b\n"
SECOND = 1_000_000_000


@pytest.fixture
def drops(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


def paths(files) -> list[str]:
    return [file.path for file in files]


@pytest.mark.parametrize(
    ("ago", "rests"), [(31, True), (30, True), (29, False), (0, False), (-29, False), (-31, True), (-1e9, True)]
)
def test_a_file_rests_once_every_clock_says_so(ago: float, rests: bool):
    now = 2_000_000_000 * SECOND
    times = (now - int(ago * SECOND), now - 3600 * SECOND)
    assert Found("a.csv", 1, "v", times=times).rested(now, 30) is rests
    assert Found("a.csv", 1, "v", times=times[::-1]).rested(now, 30) is rests
    assert Found("a.csv", 1, "v", times=times).rested(now, 0)


@pytest.mark.parametrize("kept", [1, 4_000_000_000])
def test_a_copy_that_kept_its_old_time_or_one_in_the_future_has_yet_to_settle(drops: Path, kept: int, monkeypatch):
    (drops / "a.csv").write_text(CSV)
    os.utime(drops / "a.csv", (kept, kept))
    with pytest.raises(SourceChanged, match=r"only just arrived: a\.csv: changed a moment ago"):
        peek("d", ReadOptions(), base=drops.parent, settle=30)
    later = time.time_ns() + 31 * SECOND
    monkeypatch.setattr("time.time_ns", lambda: later)
    seen = glance("d", base=drops.parent, settle=30)
    assert (paths(seen.files.files), seen.arriving) == (["a.csv"], ())
    assert peek("d", ReadOptions(), base=drops.parent).files, "without `settle` nothing is too young"


def test_young_files_are_left_out_and_named_beside_those_that_rest(drops: Path, monkeypatch):
    for name in ("old.csv", "new.csv"):
        (drops / name).write_text(CSV)
    ahead = time.time_ns() + 100 * SECOND
    monkeypatch.setattr("time.time_ns", lambda: ahead)
    os.utime(drops / "new.csv", ns=(ahead, ahead))
    seen = peek("d", ReadOptions(), base=drops.parent, settle=30)
    assert (paths(seen.files), paths(seen.skipped), seen.skipped[0].reason) == (["old.csv"], ["new.csv"], ARRIVING)

    os.utime(drops / "old.csv", ns=(ahead, ahead))
    rows = drops.parent / "rows"
    with pytest.raises(SourceChanged, match="changed while it was read"):
        ingest("d", seen, ReadOptions(), rows, base=drops.parent, required=[], settle=30)
    assert ingest("d", seen, ReadOptions(), rows, base=drops.parent, required=[]).rows == 2


def test_an_object_rests_by_the_time_of_its_store(tmp_path: Path, monkeypatch):
    store = open_store("memory://settling")
    store.put("tickets/a.csv", CSV.encode())
    with pytest.raises(SourceChanged, match=r"only just arrived: a\.csv"):
        peek("memory://settling/tickets", ReadOptions(), base=tmp_path, settle=30)
    later = time.time_ns() + 31 * SECOND
    monkeypatch.setattr("time.time_ns", lambda: later)
    assert paths(peek("memory://settling/tickets", ReadOptions(), base=tmp_path, settle=30).files) == ["a.csv"]
