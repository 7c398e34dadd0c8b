"""When new data starts a run: what counts as new, what is enough, and that each content is decided once, whatever happens between."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from opened import opened

from contender.newdata import (
    LONGEST_WAIT,
    Around,
    Begun,
    Look,
    Seen,
    changes,
    in_the_way,
    is_enough,
    run_key,
    said,
    still_arriving,
    tally,
    wait_until,
)
from contender.records import FileSet, Outcome, Snapshot, SourceFile
from contender.run import Run, decide, find_decision
from contender.stages.data import look as look_at_data
from contender.stages.newdata import see, weigh
from contender.triggers import NewData

Files = dict[str, str]


def snapshot(files: Files, **golden: Files) -> Snapshot:
    def made(some: Files) -> FileSet:
        return FileSet(files=tuple(SourceFile(path=path, size=1, sha256=sha, rows=10) for path, sha in some.items()))

    return Snapshot(source=made(files), golden={name: made(some) for name, some in golden.items()})


def seen(files: Files, arriving: tuple[str, ...] = (), ages: dict[str, float] | None = None, **golden: Files) -> Seen:
    """What was seen at second 1,000."""
    times = {("source", path): (int((1000 - age) * 1e9),) for path, age in (ages or {}).items()}
    return Seen(snapshot(files, **golden), frozenset(("source", path) for path in arriving), times)


def kinds(before: Files | None, now: Seen) -> dict[str, str]:
    return {change.file.path: change.kind for change in changes(None if before is None else snapshot(before), now)}


# --- what is new ---


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (None, {"a": "1"}, {"a": "new"}),
        ({"a": "1"}, {"a": "1"}, {}),
        ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "new"}),
        ({"a": "1"}, {"a": "2"}, {"a": "replaced"}),
        ({"a": "1", "b": "2"}, {"a": "1"}, {"b": "gone"}),
        ({"a": "1"}, {"b": "1"}, {}),
        ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {}),
        ({"a": "1"}, {"a": "2", "b": "1"}, {"a": "new"}),
        ({"a": "1"}, {"a": "1", "b": "1"}, {"b": "new"}),
        ({"a": "1", "b": "1"}, {"b": "1"}, {"a": "gone"}),
        ({"a": "1"}, {"b": "2"}, {"a": "gone", "b": "new"}),
    ],
)
def test_files_are_told_apart_by_what_is_in_them(before: Files | None, now: Files, found: dict[str, str]):
    assert kinds(before, seen(now)) == found


CONTENT = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("123"))


@given(CONTENT, CONTENT)
def test_nothing_is_new_only_where_the_same_contents_are_there_as_often(before: Files, now: Files):
    found = changes(snapshot(before), seen(now))
    assert (found == ()) == (Counter(before.values()) == Counter(now.values()))
    came, went = Counter(now.values()) - Counter(before.values()), Counter(before.values()) - Counter(now.values())
    assert Counter(change.file.sha256 for change in found if change.kind != "gone") == came
    old = [change.before for change in found if change.before] + [c.file for c in found if c.kind == "gone"]
    assert Counter(file.sha256 for file in old) == went
    assert len({change.file.path for change in found}) == len(found)


def test_a_golden_set_is_another_place_than_the_source():
    before, now = snapshot({"a": "1"}, hard={"g": "2"}), seen({"a": "1", "g": "2"}, hard={"g": "3"})
    assert [(change.set, change.kind) for change in changes(before, now)] == [
        ("source", "new"),
        ("golden-hard", "replaced"),
    ]


def test_a_file_that_is_being_written_again_is_not_gone():
    assert kinds({"a": "1", "b": "2"}, seen({"b": "2"}, arriving=("a",))) == {}


# --- what is enough ---


@pytest.mark.parametrize(
    ("wanted", "files", "rows", "enough"),
    [
        ({}, 1, 1, True),
        ({}, 1, 0, False),
        ({"min_rows": 25}, 2, 10, False),
        ({"min_rows": 25}, 3, 10, True),
        ({"min_files": 3}, 2, 999, False),
        ({"min_files": 3}, 3, 0, True),
        ({"min_rows": 25, "min_files": 2}, 2, 1, True),
        ({"min_rows": 25, "min_files": 9}, 3, 10, True),
    ],
)
def test_enough_is_so_many_rows_or_so_many_files(wanted: dict[str, Any], files: int, rows: int, enough: bool):
    found = changes(None, seen({str(n): str(n) for n in range(files)}))
    counted = tally(found, NewData(**wanted), lambda change, most: (rows, True))
    assert is_enough(counted, NewData(**wanted)) is enough


def test_no_file_is_read_once_it_is_enough():
    found = changes(None, seen({str(n): str(n) for n in range(9)}))
    asked: list[int] = []

    def count(change: object, most: int) -> tuple[int, bool]:
        asked.append(most)
        return 10, True

    counted = tally(found, NewData(min_rows=25), count)
    assert (asked, counted.rows, counted.exact) == ([25, 15, 5], 30, False)
    asked.clear()
    assert tally(found, NewData(min_files=9), count).files == 9
    assert tally(found, NewData(min_files=9, min_rows=10**6), count).files == 9
    assert asked == []
    assert said(found, counted) == "9 files are new (at least 30 rows)"


def test_a_file_whose_rows_nobody_knows_is_enough():
    found = changes(None, seen({"a": "1", "b": "2"}))
    counted = tally(found, NewData(min_rows=10**6), lambda change, most: (None, True))
    assert is_enough(counted, NewData(min_rows=10**6))
    assert counted.uncounted == ("a",)


# --- what waits ---


@pytest.mark.parametrize(
    ("ages", "arriving", "waits"),
    [
        ({"a": 40}, (), False),
        ({"a": 40}, ("b",), True),
        ({"a": 299}, ("b",), True),
        ({"a": 301}, ("b",), False),
        ({"a": 40, "c": 301}, ("b",), False),
        ({"a": -40}, ("b",), False),
        ({}, ("b",), False),
    ],
)
def test_a_burst_is_waited_for_and_a_stream_starves_nobody(
    ages: dict[str, float], arriving: tuple[str, ...], waits: bool
):
    now = seen({path: path for path in ages} or {"z": "z"}, arriving, ages)
    assert still_arriving(changes(None, now), now, 30, 1000) is waits


def test_what_is_gone_waits_for_what_may_replace_it():
    now = seen({}, ("b",))
    assert still_arriving(changes(snapshot({"a": "1"}), now), now, 30, 1000)


def test_the_same_content_is_tried_again_later_and_later_and_at_least_once_a_day():
    def ended(*skipped: bool) -> list[Begun]:
        return [Begun(n, str(n), 1000.0 + n, one) for n, one in enumerate(skipped)]

    assert wait_until([], 300) == wait_until(ended(True, True), 300) == 0
    waits = [wait_until(ended(*[False] * n), 300) - (999 + n) for n in range(1, 60)]
    assert waits[:5] == [300, 600, 1200, 2400, 4800]
    assert set(waits[9:]) == {LONGEST_WAIT}
    assert wait_until(ended(False), 10) == 1000 + 60, "a crashed run is continued by itself within that"
    assert wait_until(ended(False, False), 7 * 86400) == 1001 + 7 * 86400


def test_what_goes_on_comes_before_what_waits():
    dead, live = Begun(0, "dead", 990.0), Begun(1, "live", None)
    assert in_the_way(Around((dead, live), "next", busy=True), 300, 1000) == (
        "joined",
        "a run was started for them, and goes on",
        "live",
    )
    outcomes = [
        in_the_way(around, 300, 1000)
        for around in (Around((dead,), "next", True), Around((dead,), None, True), Around((dead,)))
    ]
    assert [found and found[0] for found in outcomes] == ["joined", "busy", "waiting"]
    assert in_the_way(Around((dead,)), 300, 1291) is None
    assert (Around().next_n, Around((dead, live)).next_n) == (0, 2)


# --- each content is decided once ---


class Server:
    """Flow runs by their idempotency keys, as the server keeps them; one has the turn at a time."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.ended: dict[str, float] = {}
        self.at_work: str | None = None

    def around(self, run: Run, seen: Seen) -> Around:
        begun = []
        for n in numbers():
            run_id = self.keys.get(run_key(run.pipeline, seen.snapshot.digest, n))
            if run_id is None:
                break
            begun.append(Begun(n, run_id, self.ended.get(run_id)))
        return Around(tuple(begun), next(iter(self.waiting), None), self.at_work is not None)

    def create(self, key: str) -> None:
        self.keys.setdefault(key, f"run {len(self.keys)}")

    @property
    def waiting(self) -> list[str]:
        return [run for run in self.keys.values() if run not in self.ended and run != self.at_work]


def contents(of: Snapshot) -> Counter[str]:
    return Counter(file.sha256 for file in of.source.files)


ENDS = st.sampled_from(["decided", "failed", "superseded"])


class Watching(RuleBasedStateMachine):
    """Files come and go, looks happen or do not, and runs end in every way."""

    overlaps = False

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="watch-"))
        (self.folder / "d").mkdir()
        self.run = opened(self.folder)
        self.server, self.now, self.entries = Server(), 1e9, numbers()
        self.at_work: Snapshot | None = None
        self.decided: Counter[str] = Counter()
        self.contents: list[Counter[str]] = []
        self.drop("a", 1)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.settle_down()
        finally:
            shutil.rmtree(self.folder)

    def settle_down(self) -> None:
        """Watchers live again, and no run fails any more: what is there is decided, however long nobody looked."""
        for _ in range(8):
            self.now += 2 * LONGEST_WAIT
            if self.at_work is not None:
                self.end("decided")
            self.look()
            self.start_run()
        if self.at_work is not None:
            self.end("decided")
        if self.files:
            assert weigh(self.run, see(self.run), Around(), self.now)[0].outcome == "nothing_new"
            assert contents(look_at_data(self.run)) in self.contents

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "d").iterdir())

    @rule(name=st.sampled_from("ab"), content=st.integers(0, 2))
    def drop(self, name: str, content: int) -> None:
        text = "".join(f'{{"text": "{content}"}}\n' for _ in range(content)) or "no json"
        (self.folder / "d" / f"{name}.jsonl").write_text(text)

    @rule(place=st.integers(0, 9))
    def remove(self, place: int) -> None:
        for path in self.files[place : place + 1]:
            path.unlink()

    @rule(place=st.integers(0, 9))
    def rename(self, place: int) -> None:
        for path in self.files[place : place + 1]:
            path.rename(path.with_name(f"x{path.name}"[-9:]))

    @rule()
    def look(self) -> None:
        if self.files:
            self.start(*self.one_look())

    def one_look(self) -> tuple[Look, Around]:
        seen = see(self.run)
        around = self.server.around(self.run, seen)
        return weigh(self.run, seen, around, self.now)[0], around

    def start(self, look: Look, around: Around) -> None:
        if look.outcome == "started":
            self.server.create(run_key(self.run.pipeline, str(look.snapshot), around.next_n))

    @precondition(lambda self: self.at_work is None)
    @rule()
    def start_run(self) -> None:
        if not self.server.waiting or not self.files:
            return
        self.server.at_work = self.server.waiting[0]
        self.at_work = look_at_data(self.run)

    @precondition(lambda self: self.at_work is not None)
    @rule(how=ENDS)
    def end(self, how: str) -> None:
        assert self.at_work is not None
        if how != "failed" and find_decision(self.run, self.at_work) is None:
            outcome: Outcome = "kept" if how == "decided" else "superseded"
            decide(self.run, outcome, how, snapshot=self.at_work, judged_against=next(self.entries))
            if how == "decided":
                self.decided[self.at_work.digest] += 1
                self.contents.append(contents(self.at_work))
        self.server.ended[str(self.server.at_work)] = self.now
        self.server.at_work = self.at_work = None

    @rule(how=ENDS)
    def whole_run(self, how: str) -> None:
        self.look()
        if self.at_work is None:
            self.start_run()
        if self.at_work is not None:
            self.end(how)

    @rule(seconds=st.sampled_from([1, 100, 700, 90_000]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def each_content_is_decided_at_most_once(self) -> None:
        assert set(self.decided.values()) <= {1}

    @invariant()
    def one_run_lives(self) -> None:
        assert self.overlaps or len(self.server.waiting) + (self.at_work is not None) <= 1


class Overlapping(Watching):
    """Looks that overlap, as those of several workers may: one that is slow starts what was right a while ago."""

    overlaps = True

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[tuple[Look, Around]] = []

    @rule()
    def begin_slow_look(self) -> None:
        if self.files:
            self.slow.append(self.one_look())

    @precondition(lambda self: self.slow)
    @rule(place=st.integers(0, 1))
    def end_slow_look(self, place: int) -> None:
        self.start(*self.slow.pop(min(place, len(self.slow) - 1)))


SETTINGS = settings(max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
Watching.TestCase.settings = Overlapping.TestCase.settings = SETTINGS
TestWatching, TestOverlapping = Watching.TestCase, Overlapping.TestCase
