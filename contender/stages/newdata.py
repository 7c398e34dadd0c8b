"""A look at a pipeline's data: what is there, what of it is new since the last decision, and whether that starts a run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contender.data.counting import Counts, begins_with, content_key, count_rows, gives_no_rows
from contender.data.places import Found, Place, locate, nothing_there
from contender.data.source import Glance, checked, glance
from contender.datafiles import GOLDEN, SOURCE, files_of_release, read_data_files, sets_of
from contender.errors import NothingThere, UsageError
from contender.monitoring import Monitored
from contender.newdata import (
    Around,
    Change,
    Look,
    LookOutcome,
    Seen,
    Tally,
    changes,
    decided_words,
    in_the_way,
    is_enough,
    missing,
    names,
    said,
    still_arriving,
    tally,
)
from contender.records import Decision, FileSet, Snapshot
from contender.registry import Registry
from contender.run import Run, find_decision
from contender.stages.data import blaming, read_options
from contender.triggers import NewData


def wanted_by(run: Run) -> NewData:
    """What the spec says of new data; UsageError where it says nothing."""
    wanted = run.pipeline.spec.triggers.new_data
    if wanted is None:
        raise UsageError(
            f"{run.pipeline.spec.name} has no triggers.new_data", "Add it to the YAML, and deploy the pipeline again."
        )
    return wanted


def see(run: Run) -> Seen:
    """What the source and the golden sets hold now that has settled, listed and hashed; also where that is nothing."""
    settle = wanted_by(run).settle
    found: dict[str, FileSet] = {}
    arriving: set[tuple[str, str]] = set()
    times: dict[tuple[str, str], tuple[int, ...]] = {}
    for name, (key, location) in _locations(run).items():
        with blaming(key):
            seen = _glance(run, location, settle)
        found[name] = seen.files
        arriving.update((name, path) for path in seen.arriving)
        times.update({(name, path): at for path, at in seen.times.items()})
    source = found.pop(SOURCE)
    golden = {name.removeprefix(GOLDEN): files for name, files in found.items()}
    return Seen(Snapshot(source=source, golden=golden), frozenset(arriving), times)


def _glance(run: Run, location: str, settle: float) -> Glance:
    """As `glance`; where nothing is there yet, no file."""
    try:
        return glance(
            location,
            base=Path(run.pipeline.folder),
            profile=run.pipeline.spec.profile(location),
            cache=run.peeked_cache,
            settle=settle,
            media=read_options(run).media,
        )
    except NothingThere:
        return Glance(FileSet(files=()), {})


def weigh(
    run: Run, seen: Seen, around: Around, now: float, scored: Monitored | None = None
) -> tuple[Look, tuple[Change, ...]]:
    """What the look comes to, and what changed. `around` is as old as `seen`, or older than now: a run that ended since then has left
    its decision, which is asked for here. `now`: seconds since 1970. `scored`: what the champion was worth on the new rows, where it
    was asked: one that is worse than its bound is enough.
    """
    wanted = wanted_by(run)
    newest = run.registry.newest_decision()
    found = changes(decided_files(run.registry, newest), seen)

    def look(outcome: LookOutcome, message: str, counted: Tally | None = None, run_id: str | None = None) -> Look:
        return Look(
            pipeline=run.pipeline.spec.name,
            outcome=outcome,
            message=f"{message}.",
            snapshot=seen.snapshot.digest,
            files=len(found),
            rows=counted.rows if counted else None,
            flow_run_id=run_id,
            trigger="degradation" if scored and scored.degraded else "new data",
        )

    waits = f"{names(path for _, path in seen.arriving)}: changed less than {wanted.settle:g} s ago"
    if nothing_to_read(run, seen, newest):
        return look("settling", waits) if seen.arriving else look("not_enough", "there is no file to read yet"), found
    decision = find_decision(run, seen.snapshot)
    if decision is not None or not found:
        known = decision or newest
        same = f"nothing is new since the data that was {decided_words(known)}" if known else "nothing is there"
        return look("settling", waits) if seen.arriving else look("nothing_new", same), found
    if still_arriving(found, seen, wanted.settle, now):
        return look("settling", f"{said(found, None)}, and more is arriving; {waits}"), found
    counted = count(run, found)
    text, scored = said(found, counted), scored or Monitored()
    if scored.degraded:
        text = f"{text}; {scored.degraded.rstrip('.')}"
    elif not is_enough(counted, wanted):
        unscored = f"; they cannot be scored: {scored.refused.rstrip('.')}" if scored.refused else ""
        return look("not_enough", f"{text}; a run is started for {missing(wanted)}{unscored}", counted), found
    obstacle = in_the_way(around, wanted.every, now)
    if obstacle is not None:
        outcome, why, run_id = obstacle
        return look(outcome, f"{text}; {why}", counted, run_id), found
    faulty = f"; nobody knows the rows of {names(counted.uncounted)}" if counted.uncounted else ""
    return look("started", f"{text}{faulty}; a run is started", counted), found


def nothing_to_read(run: Run, seen: Seen, newest: Decision | None) -> bool:
    """Whether a set has no file that has settled. Once a decision was made, that is an error, unless one is arriving."""
    empty = [name for name, files in sets_of(seen.snapshot).items() if not files.files]
    if empty and newest is not None and not seen.arriving:
        key, location = _locations(run)[empty[0]]
        with blaming(key):
            skipped = sets_of(seen.snapshot)[empty[0]].skipped
            if not skipped:
                raise nothing_there(location)
            checked(location, (), skipped)
    return bool(empty)


def decided_files(registry: Registry, decision: Decision | None) -> Snapshot | None:
    """The files that the decision was made on; None where nobody kept them, and all that is there counts as new."""
    if decision is None:
        return None
    table = registry.snapshots.get(decision.snapshot)
    if table is not None:
        return read_data_files(table, f"the table of snapshot {decision.snapshot}", decision.snapshot)
    if decision.release is None:
        return None
    try:
        files = files_of_release(registry, decision.release)
    except UsageError:
        return None  # it was removed
    # Another snapshot may have led to the same model before.
    return files if files is not None and files.digest == decision.snapshot else None


def count(run: Run, found: tuple[Change, ...]) -> Tally:
    """How much changed. Only files that changed are read, and no further than it takes."""
    counter = _Counter(run)
    try:
        return tally(found, wanted_by(run), counter.rows)
    finally:
        counter.known.save()


class _Counter:
    """Rows by which files differ, counted once for each content."""

    def __init__(self, run: Run) -> None:
        self.known = Counts(run.workspace.root / "counts.json", read_options(run))
        self._run = run
        self._listed: dict[str, tuple[Place, dict[str, Found]]] = {}

    def rows(self, change: Change, enough: int) -> tuple[int | None, bool]:
        """Of a replaced file the larger count of the two, or the rows that were added where it only grew."""
        before = (change.before.rows if change.before else None) or 0
        grew = bool(before) and self._grew(change)
        rows, whole = self._count(change, enough + before if grew else enough)
        if rows is None:
            return None, whole
        return (max(rows - before, 0) if grew else max(rows, before)), whole

    def _grew(self, change: Change) -> bool:
        if change.before is None:
            return False
        key = f"grew:{change.before.sha256}:{change.file.sha256}"
        known, grew = self.known.get(key)
        if not known:
            place, listed = self._place(change.set)
            grew = int(begins_with(place, listed.get(change.file.path), change.before))
            self.known.put(key, grew)
        return bool(grew)

    def _count(self, change: Change, enough: int) -> tuple[int | None, bool]:
        key = content_key(change.file)
        known, rows = self.known.get(key)
        if known:
            return rows, True
        place, listed = self._place(change.set)
        file, options = change.file, read_options(self._run)
        if options.media and gives_no_rows(file.path, listed, options.media):
            return 0, True
        with self._run.workspace.scratch(f"counting-{self._run.pipeline.spec.name}") as folder:
            rows, whole = count_rows(place, listed.get(file.path), file, options, folder, enough)
        if whole:
            self.known.put(key, rows)
        return rows, whole

    def _place(self, name: str) -> tuple[Place, dict[str, Found]]:
        if name not in self._listed:
            _, location = _locations(self._run)[name]
            profile, media = self._run.pipeline.spec.profile(location), read_options(self._run).media
            place = locate(location, Path(self._run.pipeline.folder), profile, media)
            self._listed[name] = place, {}
            with suppress(NothingThere):  # it went a moment ago
                self._listed[name] = place, {found.path: found for found in place.list()[0]}
        return self._listed[name]


def _locations(run: Run) -> dict[str, tuple[str, str]]:
    """Set → the spec's key, and the place that it names."""
    data = run.pipeline.spec.data
    golden = {f"{GOLDEN}{name}": (f"data.golden.{name}", place) for name, place in data.golden.items()}
    return {SOURCE: ("data.source", data.source)} | golden
