"""How often a deployed run is continued, and what it says when it is not."""

from __future__ import annotations

import pytest

from contender import recovery
from contender.errors import Interrupted, KeepsDying, StoreUnavailable, TakenOver, TrainingFailed
from contender.progress import Note, tell
from contender.recovery import Point, attempted, deaths_among
from contender.store import LocalStore, MemoryStore, Store

STARTED, FINISHED = "started", "finished"


class Death(BaseException):
    """Nothing is left to be done, as after SIGKILL."""


def attempt(store: Store, *notes: Note, end: BaseException | None = None, most: int = 3) -> str:
    """One attempt that tells these notes and then ends so; what it was told of the one before."""
    told: list[str] = []
    try:
        with attempted(store, "run", most, told.append):
            for note in notes:
                tell(note)
            if end is not None:
                raise end
    except (Death, Interrupted):
        pass
    return " ".join(told)


def up_to(stage: str, *more: Note) -> list[Note]:
    """The notes of a run until it is at work in a stage."""
    notes = []
    for name in ("snapshot", "quality", "split", "train", "release"):
        notes.append(Note(name, STARTED))
        if name == stage:
            break
        notes.append(Note(name, FINISHED))
    return [*notes, *more]


def kept(step: int) -> Note:
    return Note("train", "moved", done=step + 3, total=900, kept=step)


def test_a_run_that_ends_by_itself_leaves_nothing_to_count(store: Store) -> None:
    assert attempt(store, *up_to("release"), end=Death()) == ""
    assert attempt(store, *up_to("release"))
    assert list(store.list()) == []
    attempt(store, *up_to("train"), end=Death())
    with pytest.raises(TrainingFailed):
        attempt(store, *up_to("train"), end=TrainingFailed("it diverged"))
    assert list(store.list()) == []
    assert attempt(store) == ""


def test_an_attempt_is_told_where_the_last_one_died_and_which_recovery_it_is() -> None:
    store = MemoryStore()
    attempt(store, *up_to("train", kept(420)), end=Death())
    assert "attempt 2: the last one died in train after step 423 (20" in attempt(store, end=Death())
    told = attempt(store, Note("snapshot", STARTED), Note("snapshot", FINISHED), end=Death())
    assert "the last one died before its first stage (20" in told
    assert told.endswith("(recovery 2 of 3)")
    assert "died after snapshot" in attempt(store, end=Death())


def test_a_run_that_dies_more_often_than_it_may_fails_and_says_where() -> None:
    store = MemoryStore()
    for step in (40, 80):
        attempt(store, *up_to("train", kept(step)), end=Death(), most=2)
    attempt(store, *up_to("release"), end=Death(), most=2)
    with pytest.raises(KeepsDying) as stopped:
        attempt(store, most=2)
    assert stopped.value.what.startswith("the run died 3 times, the last time in release (20")
    assert stopped.value.what.endswith("and resources.max_recoveries is 2")
    assert attempt(store, most=2) == "", "whoever starts it again by hand gets as many recoveries"


def test_no_recovery_where_none_is_wanted() -> None:
    store = MemoryStore()
    attempt(store, *up_to("split"), end=Death(), most=0)
    with pytest.raises(KeepsDying, match=r"died once in split .* resources.max_recoveries is 0"):
        attempt(store, most=0)


def test_three_deaths_at_one_point_are_enough_however_many_are_allowed() -> None:
    store = MemoryStore()
    attempt(store, *up_to("train", kept(40)), end=Death(), most=100)
    for _ in range(2):  # continued from step 40, and dead before the next checkpoint
        attempt(store, *up_to("train", Note("train", "moved", done=43)), end=Death(), most=100)
    with pytest.raises(KeepsDying, match="the run died 3 times at the same point, the last time in train"):
        attempt(store, most=100)


def test_deaths_with_progress_between_them_are_no_death_at_one_point() -> None:
    store = MemoryStore()
    for step in range(40, 400, 40):
        attempt(store, *up_to("train", kept(step)), end=Death(), most=100)
    assert "recovery 9 of 100" in attempt(store, most=100)


def test_a_stop_that_was_asked_for_is_no_death_where_something_was_done() -> None:
    store = MemoryStore()
    for step in range(40, 400, 40):
        told = attempt(store, *up_to("train", kept(step)), end=Interrupted("stopped by SIGTERM"), most=1)
    assert "the last one was stopped in train" in told
    attempt(store, *up_to("train"), end=Interrupted("stopped by SIGTERM"), most=1)  # nothing done since step 360
    assert "recovery 1 of 1" in attempt(store, *up_to("train"), end=Interrupted("stopped"), most=1)
    with pytest.raises(KeepsDying, match="died 2 times"):
        attempt(store, most=1)


def test_deaths_are_counted_by_what_was_reached_before_them() -> None:
    progressed = Point(finished=3, checkpoint=40, interrupted=True)
    replayed = Point(finished=1, checkpoint=40, interrupted=True)
    assert deaths_among([progressed, replayed, Point(finished=2, checkpoint=40)]) == [
        replayed,
        Point(finished=2, checkpoint=40),
    ]


def test_of_two_attempts_that_live_the_older_one_ends_at_its_next_stage(store: Store) -> None:
    with (
        pytest.raises(TakenOver, match="attempt 2 at this run began elsewhere, so attempt 1 ends"),
        attempted(store, "run", 3, str),
    ):
        tell(Note("snapshot", STARTED))
        with attempted(store, "run", 3, str):
            tell(Note("snapshot", FINISHED))
            raised = False
            try:
                tell(Note("split", STARTED))
            except TakenOver:
                raised = True
            assert raised, "the older one hears the same notes here"


def test_an_older_attempt_ends_in_the_middle_of_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOOK_SECONDS", 0.0)
    store = MemoryStore()
    with pytest.raises(TakenOver), attempted(store, "run", 3, str):
        tell(Note("train", STARTED))
        recovery.RunAttempts(store, "run").begin(3)
        tell(Note("train", "moved", done=7))
    assert attempt(store, most=9), "the newer one's records are its own"


def test_records_that_cannot_be_written_end_no_run() -> None:
    store = MemoryStore()
    with attempted(store, "run", 3, str):
        store.fail("put", "unavailable", times=100)
        store.fail("list", "unavailable", times=100)
        tell(Note("snapshot", STARTED))


def test_a_run_whose_number_nobody_can_say_does_not_begin() -> None:
    store = MemoryStore()
    store.fail("create", "unavailable", times=100)
    with pytest.raises(StoreUnavailable):
        attempt(store)


def test_a_damaged_point_counts_as_a_death_at_the_beginning(tmp_path: object) -> None:
    store = MemoryStore()
    attempt(store, *up_to("train"), end=Death())
    store.put("runs/run/points/00000001.json", b"{")
    assert "died before its first stage" in attempt(store)


def test_runs_do_not_count_each_others_deaths(tmp_path) -> None:
    store = LocalStore(tmp_path)
    attempt(store, end=Death())
    told: list[str] = []
    with attempted(store, "another", 0, told.append):
        pass
    assert told == []
    assert [info.key for info in store.list()] == ["runs/run/00000001.json"]
