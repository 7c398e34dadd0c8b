"""A look over real files: which are read, how their rows are counted, and what was decided before anybody kept files."""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from opened import opened

from contender.datafiles import data_files, read_data_files
from contender.errors import Damaged, DataError, SourceChanged, UsageError
from contender.newdata import Around, Look
from contender.records import Decision, FileSet, ReleaseDraft, Snapshot, SourceFile
from contender.registry import DATA_FILES
from contender.run import Run, decide
from contender.stages.data import look as look_at_data
from contender.stages.newdata import see, weigh
from contender.store import MemoryStore

ROW = '{"text": "hello", "label": "a"}\n'


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def drops(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


def look(run: Run, now: float | None = None) -> Look:
    return weigh(run, see(run), Around(), time.time() if now is None else now)[0]


def decided(run: Run, n: int = 0) -> Decision:
    snapshot = look_at_data(run)
    counted = {
        file.path: (Path(run.pipeline.folder) / "d" / file.path).read_bytes().count(b"\n")
        for file in snapshot.source.files
    }
    files = tuple(file.model_copy(update={"rows": counted[file.path]}) for file in snapshot.source.files)
    return decide(run, "kept", "by a test", snapshot=Snapshot(source=FileSet(files=files)), judged_against=n)


# --- rows ---


def test_rows_that_were_added_to_a_file_are_the_ones_that_count(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store, min_rows=3)
    (drops / "a.jsonl").write_text(ROW * 100)
    decided(run)
    with (drops / "a.jsonl").open("a") as stream:
        stream.write(ROW * 2)
    few = look(run)
    assert (few.outcome, few.rows) == ("not_enough", 2)
    assert few.message == "1 file is replaced (2 rows); a run is started for 3 rows."
    with (drops / "a.jsonl").open("a") as stream:
        stream.write(ROW)
    assert (look(run).outcome, look(run).rows) == ("started", 3)
    (drops / "a.jsonl").write_text("\n" + ROW)
    assert look(run).rows == 100, "of a file that holds something else, all that it held and holds"


def test_a_file_is_counted_once_and_no_further_than_it_takes(drops: Path, store: MemoryStore, monkeypatch):
    from contender.data import counting

    run = opened(drops.parent, store, min_rows=50)
    read: list[str] = []
    count_rows = counting.count_rows
    monkeypatch.setattr(
        "contender.stages.newdata.count_rows",
        lambda place, found, file, *more: read.append(file.path) or count_rows(place, found, file, *more),
    )
    for name, rows in (("a", 20), ("b", 20)):
        (drops / f"{name}.jsonl").write_text(ROW * rows)
    (drops / "same.jsonl").write_text(ROW * 20)
    os.utime(drops / "a.jsonl", (1, 1))
    assert look(run).outcome == "started"
    assert read == ["a.jsonl"], "the others hold the same"
    (drops / "same.jsonl").unlink()
    assert (look(run).rows, read) == (40, ["a.jsonl"])
    for damaged in (b"", b"\xff", b'{"revision":1,"options":"","counts":[]}', b'{"revision":1}'):
        (run.workspace.root / "counts.json").write_bytes(damaged)
        assert look(run).rows == 40
    (drops / "c.jsonl").write_text(ROW * 30)
    (drops / "d.jsonl").write_text(ROW * 31)
    read.clear()
    assert look(run).outcome == "started"
    assert read == ["c.jsonl"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b"no json\n"),
        ("x.csv.gz", gzip.compress(b"text,label\na,b\n", mtime=0)[:-9]),
        ("x.json", b'[{"text": "a"}'),
        ("x.parquet", b"PAR1 this is none PAR1"),
        ("x.arrow", b"ARROW1 this is none ARROW1"),
        ("x.csv", "text,label\na,b\n".encode("utf-16-le")),
    ],
)
def test_a_file_that_cannot_be_read_starts_a_run_that_says_so(
    drops: Path, store: MemoryStore, name: str, content: bytes
):
    run = opened(drops.parent, store, min_rows=500)
    (drops / name).write_bytes(content)
    found = look(run)
    assert found.outcome == "started"
    assert f"nobody knows the rows of {name}" in found.message


def test_a_file_that_changes_between_is_looked_at_again(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store)
    (drops / "a.jsonl").write_text(ROW)
    seen = see(run)
    (drops / "a.jsonl").write_text(ROW * 9_000)
    with pytest.raises(SourceChanged, match="changed while its rows were counted"):
        weigh(opened(drops.parent, store, min_rows=10_000), seen, Around(), time.time())
    (drops / "a.jsonl").unlink()
    with pytest.raises(SourceChanged):
        weigh(run, seen, Around(), time.time())


# --- what was decided before ---


def test_the_files_of_a_decision_are_written_before_it_and_stay(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store)
    (drops / "a.jsonl").write_text(ROW * 3)
    store.fail("create", "unavailable", times=100, prefix="desk/decisions/")
    with pytest.raises(Exception, match="did not answer"):
        decided(run)
    store.heal()
    (key,) = (info.key for info in store.list("desk/"))
    made = decided(run)
    assert key == f"desk/snapshots/{made.snapshot}.parquet"
    kept = read_data_files(store.get(key), "it", made.snapshot)
    assert [(file.path, file.rows) for file in kept.source.files] == [("a.jsonl", 3)]
    assert str(drops).encode() not in store.get(key)
    run.registry.collector(1, 0).collect()
    assert run.registry.snapshots.get(made.snapshot) == store.get(key)
    assert look(run).outcome == "nothing_new"


def test_a_decision_without_its_files_falls_back_on_the_release_or_knows_nothing(
    drops: Path, store: MemoryStore, tmp_path: Path
):
    run = opened(drops.parent, store, min_rows=5)
    (drops / "a.jsonl").write_text(ROW * 20)
    made = decided(run)
    store.delete(f"desk/snapshots/{made.snapshot}.parquet")
    assert look(run).outcome == "nothing_new", "this very content was decided on"
    (drops / "b.jsonl").write_text(ROW)
    assert (look(run).outcome, look(run).files) == ("started", 2), "nobody knows what was decided on"

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (drops / "b.jsonl").unlink()
    (tmp_path / DATA_FILES).write_bytes(data_files(look_at_data(run)))
    draft = ReleaseDraft(kind="text-classification", columns={})
    release = run.registry.stage(tmp_path / "model", draft, {DATA_FILES: tmp_path / DATA_FILES}).release
    run.registry.decide(made.model_copy(update={"key": "k", "release": release, "at": "9999"}))
    (drops / "b.jsonl").write_text(ROW)
    assert (look(run).outcome, look(run).files) == ("not_enough", 1)
    run.registry.decide(made.model_copy(update={"key": "l", "release": "r-0000000000000000", "at": "99999"}))
    assert look(run).files == 2, "a release that was removed tells nothing"


def test_damaged_files_of_a_decision_are_said(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store)
    (drops / "a.jsonl").write_text(ROW)
    made = decided(run)
    key = f"desk/snapshots/{made.snapshot}.parquet"
    other = Snapshot(source=FileSet(files=(SourceFile(path="b", size=1, sha256="0"),)))
    for damaged in (b"", b"PAR1PAR1", store.get(key)[:-1], data_files(other)):
        store.put(key, damaged)
        with pytest.raises(Damaged, match=f"the table of snapshot {made.snapshot}"):
            look(run)


# --- nothing to read ---


def test_a_source_that_is_empty_waits_until_something_was_decided_on_it(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store)
    assert look(run).message == "there is no file to read yet."
    (drops / "a.jsonl").write_text("")
    assert look(run).message == "there is no file to read yet."
    (drops / "a.jsonl").write_text(ROW)
    decided(run)
    (drops / "a.jsonl").write_text("")
    with pytest.raises(DataError, match=r"data\.source: d/ holds no file to read: a\.jsonl: empty"):
        look(run)
    (drops / "a.jsonl").unlink()
    with pytest.raises(UsageError, match=r"data\.source: d/ does not exist, or holds nothing"):
        look(run)


def test_a_pipeline_that_does_not_ask_for_it_is_not_watched(drops: Path, store: MemoryStore):
    run = opened(drops.parent, store)
    spec = run.pipeline.spec.model_copy(update={"triggers": type(run.pipeline.spec.triggers)()})
    with pytest.raises(UsageError, match=r"desk has no triggers\.new_data"):
        see(replace(run, pipeline=run.pipeline.model_copy(update={"spec": spec})))


def test_files_that_arrive_are_waited_for_and_left_out(drops: Path, store: MemoryStore, monkeypatch):
    run = opened(drops.parent, store, settle=30, min_rows=1)
    clock = [time.time()]
    monkeypatch.setattr("time.time_ns", lambda: int(clock[0] * 1e9))
    (drops / "a.jsonl").write_text(ROW)
    assert look(run, clock[0]).message == "a.jsonl: changed less than 30 s ago."
    clock[0] += 40
    (drops / "b.jsonl").write_text(ROW)
    os.utime(drops / "b.jsonl", (clock[0], clock[0]))
    waits = look(run, clock[0])
    assert (waits.outcome, waits.files) == ("settling", 1)
    assert waits.message == "1 file is new, and more is arriving; b.jsonl: changed less than 30 s ago."
    clock[0] += 300
    os.utime(drops / "b.jsonl", (clock[0], clock[0]))
    assert (look(run, clock[0]).outcome, look(run, clock[0]).files) == ("started", 1), "a stream starves nobody"
