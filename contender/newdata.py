"""When new data starts a run: what changed since the last decision, whether it is enough, and which runs stand in the way.

What was decided on is known by content, so that nothing here has to remember a look: one that never came is made up for by the
next. Everything is a pure function of what a look saw; contender/stages/newdata.py sees, and tasks/watch.py asks the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from contender.datafiles import sets_of
from contender.records import Decision, Record, Snapshot, SourceFile
from contender.spec import Pipeline
from contender.text import shorten
from contender.triggers import NewData

PATIENCE = 10  # times `settle`, that data which rests waits for data which is still arriving
# Before a run that ended without a decision is begun again: twice as long each time. The least is longer than a crashed run needs to
# be continued by itself, and the most keeps broken code from burning a GPU all day.
SHORTEST_WAIT, LONGEST_WAIT = 60.0, 86_400.0
NAMED = 3  # files that a sentence names

LookOutcome = Literal["started", "joined", "nothing_new", "not_enough", "settling", "busy", "waiting"]
Kind = Literal["new", "replaced", "gone"]
Place = tuple[str, str]  # a set's name, a file's path
Files = dict[Place, SourceFile]


class Look(Record):
    """What a look at a pipeline's data came to."""

    pipeline: str
    outcome: LookOutcome
    message: str
    snapshot: str | None = None
    files: int = 0
    rows: int | None = None
    flow_run_id: str | None = None
    trigger: str = "new data"


@dataclass(frozen=True)
class Seen:
    """What the source and the golden sets hold now, less the files that are `arriving`.

    `times`: when the file changed, ns since 1970, as each clock that was asked says it.
    """

    snapshot: Snapshot
    arriving: frozenset[Place]
    times: dict[Place, tuple[int, ...]]


@dataclass(frozen=True)
class Change:
    """One file that is not as it was. `file`: as it is now, or was before it went; `before`: what was replaced."""

    set: str
    kind: Kind
    file: SourceFile
    before: SourceFile | None = None


@dataclass(frozen=True)
class Tally:
    """How much changed. `exact`: False where rows were only counted until they were enough. `uncounted`: files whose rows nobody knows."""

    files: int
    rows: int = 0
    exact: bool = True
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """A run that new data started before, for this very spec and snapshot. `ended`: seconds since 1970, None while it lives."""

    n: int
    run_id: str
    ended: float | None
    skipped: bool = False


@dataclass(frozen=True)
class Around:
    """The runs of a pipeline that matter to a look: those for the same content, one that has not looked yet, one at work."""

    begun: tuple[Begun, ...] = ()
    not_begun: str | None = None
    busy: bool = False

    @property
    def next_n(self) -> int:
        return max((run.n for run in self.begun), default=-1) + 1


def run_key(pipeline: Pipeline, snapshot: str, n: int) -> str:
    """The idempotency key of the nth run that new data starts for this spec and snapshot."""
    return f"{pipeline.spec.name}:{pipeline.digest}:{snapshot}:{n}"


def changes(before: Snapshot | None, seen: Seen) -> tuple[Change, ...]:
    """What is new, replaced or gone, by content: a file that only has another name now is none of these."""
    then, now = _files(before), _files(seen.snapshot)
    fresh = dict(_without(now, then))
    lost = {place: file for place, file in _without(then, now) if place not in seen.arriving}
    found = [
        Change(place[0], "replaced" if place in lost else "new", file, lost.get(place)) for place, file in fresh.items()
    ]
    found += [Change(place[0], "gone", file) for place, file in lost.items() if place not in fresh]
    return tuple(sorted(found, key=lambda change: (change.kind, change.set, change.file.path)))


def _files(snapshot: Snapshot | None) -> Files:
    if snapshot is None:
        return {}
    return {(name, file.path): file for name, files in sets_of(snapshot).items() for file in files.files}


def _without(files: Files, others: Files) -> Iterator[tuple[Place, SourceFile]]:
    """The files whose content is not among the others' as often; of equal ones those that moved."""
    counts: Counter[Place] = Counter()
    for sign, some in ((1, files), (-1, others)):
        for (name, _), file in some.items():
            counts[name, file.sha256] += sign
    for place, file in files.items():
        same = others.get(place)
        content = place[0], file.sha256
        if counts[content] > 0 and (same is None or same.sha256 != file.sha256):
            counts[content] -= 1
            yield place, file


def tally(found: Sequence[Change], wanted: NewData, count: Callable[[Change, int], tuple[int | None, bool]]) -> Tally:
    """How much changed, counted no further than it takes to know that it is enough.

    `count` gives the rows by which a new or replaced file differs, and whether that is all: it may end where they are enough.
    """
    most = least_rows(wanted)
    if most is None or (wanted.min_files is not None and len(found) >= wanted.min_files):
        return Tally(len(found), exact=False)
    rows, uncounted = 0, list[str]()
    for place, change in enumerate(found, 1):
        counted, whole = (change.file.rows, True) if change.kind == "gone" else count(change, most - rows)
        if counted is None:
            uncounted.append(change.file.path)
        else:
            rows += counted
        if uncounted or rows >= most:
            return Tally(len(found), rows, whole and place == len(found), tuple(uncounted))
    return Tally(len(found), rows)


def least_rows(wanted: NewData) -> int | None:
    return 1 if wanted.min_rows is None and wanted.min_files is None else wanted.min_rows


def is_enough(found: Tally, wanted: NewData) -> bool:
    """A file whose rows nobody knows is enough: it cannot be read, and the run says what is wrong with it, or it is gone."""
    least = least_rows(wanted)
    by_rows = least is not None and (found.rows >= least or bool(found.uncounted))
    return by_rows or (wanted.min_files is not None and found.files >= wanted.min_files)


def still_arriving(found: Iterable[Change], seen: Seen, settle: float, now: float) -> bool:
    """Whether what changed waits for files that are arriving beside it: a burst is one run, and a stream starves nobody."""
    if not seen.arriving:
        return False
    # Of its clocks' times the last that is not in the future; what is gone has none.
    ages = [
        now
        - max(
            (time / 1e9 for time in seen.times.get((change.set, change.file.path), ()) if time / 1e9 <= now), default=0
        )
        for change in found
        if change.kind != "gone"
    ]
    return not ages or max(ages) < PATIENCE * settle


def wait_until(begun: Iterable[Begun], every: float) -> float:
    """Not before this, in seconds since 1970, is the same content tried again; 0: at once."""
    ended = [run.ended for run in begun if run.ended is not None and not run.skipped]
    if not ended:
        return 0.0
    first = max(every, SHORTEST_WAIT)
    return max(ended) + min(first * 2.0 ** min(len(ended) - 1, 40), max(first, LONGEST_WAIT))


def in_the_way(around: Around, every: float, now: float) -> tuple[LookOutcome, str, str | None] | None:
    """Why no run is started for what is enough: the outcome, the rest of its sentence, and the run that it is about."""
    live = next((run for run in around.begun if run.ended is None), None)
    if live is not None:
        return "joined", "a run was started for them, and goes on", live.run_id
    if around.not_begun is not None:
        return "joined", "a run that has not looked yet will see them", around.not_begun
    if around.busy:
        return "busy", "another run of this pipeline is at work; they are looked at again once it has ended", None
    again = wait_until(around.begun, every)
    if now < again:
        runs = sum(run.ended is not None for run in around.begun)
        return "waiting", f"{_runs(runs)} ended without a decision; the next is started after {_moment(again)}", None
    return None


def said(found: Sequence[Change], counted: Tally | None) -> str:
    """`2 files are new and 1 is gone (1,204 rows)`."""
    kinds = Counter(change.kind for change in found)
    words: list[str] = []
    for kind, count in sorted(kinds.items(), key=lambda one: ("new", "replaced", "gone").index(one[0])):
        noun = "" if words else " file" if count == 1 else " files"
        words.append(f"{count:,}{noun} {'is' if count == 1 else 'are'} {kind}")
    text = " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "nothing is new"
    if counted is None or (not counted.rows and not counted.exact):
        return text
    least = "" if counted.exact and not counted.uncounted else "at least "
    return f"{text} ({least}{counted.rows:,} row{'' if counted.rows == 1 else 's'})"


def missing(wanted: NewData) -> str:
    """What it takes."""
    least = least_rows(wanted)
    rows = f"{least:,} row{'' if least == 1 else 's'}" if least is not None else ""
    files = f"{wanted.min_files:,} file{'' if wanted.min_files == 1 else 's'}" if wanted.min_files is not None else ""
    return " or ".join(filter(None, (rows, files)))


def decided_words(decision: Decision) -> str:
    return f"decided on {decision.at[:16].replace('T', ' ')} UTC ({decision.outcome})"


def names(paths: Iterable[str]) -> str:
    """The first few, and how many more."""
    every = sorted(paths)
    more = f" and {len(every) - NAMED:,} more" if len(every) > NAMED else ""
    return ", ".join(shorten(path, 80) for path in every[:NAMED]) + more


def _runs(count: int) -> str:
    return "the run that was started for them" if count == 1 else f"{count:,} runs that were started for them"


def _moment(seconds: float) -> str:
    """To the minute, upwards."""
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(seconds=59)
    return f"{moment:%Y-%m-%d %H:%M} UTC"
