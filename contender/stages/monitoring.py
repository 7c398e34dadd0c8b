"""The champion on labelled rows that are new to it, before they train anything: the pipeline's monitoring series.

Scored are the rows dealt to `train` with a split key that the champion did not train on, which no observation has scored: so a file
that is appended, replaced, renamed or read again adds each of its rows once, and what was held out stays out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from contender.contest import Champion
from contender.data.jsonlists import label_counts, texts_of
from contender.errors import Damaged
from contender.evaluation.scope import with_scope
from contender.files import sha256_file
from contender.kinds import kind
from contender.monitoring import LEVEL, Observation, degraded, drift_of, shares
from contender.names import TASKS, Task
from contender.plan import stage_key
from contender.progress import Note, tell
from contender.records import ReleaseManifest, Snapshot, SplitReport
from contender.registry.layout import now
from contender.run import Run
from contender.stages.data import frozen_split
from contender.stages.judge import train_keys
from contender.stages.model import Predictions, fetch_release, serving, with_ratings
from contender.stages.telling import finish, rows_told
from contender.training.devices import computing_on
from contender.workspace import Staged

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]

T = TypeVar("T")


def monitor(run: Run, champion: Champion, snapshot: Snapshot, split: Staged[SplitReport]) -> Observation | None:
    """Scores the champion on the rows that are new to it, and adds that to the series, once.

    Gives what is known of this champion on this snapshot, also where an earlier attempt scored it; None where there is no champion
    or no such row. No verdict rests on the series: a damaged one is told and stops nothing.
    """
    if champion.entry is None or champion.manifest is None:
        return None
    started = time.monotonic()
    tell(Note("monitor", "started"))
    release, found, cached = champion.manifest, None, False
    key = stage_key(run.pipeline, "monitor", release=release.digest, split=split.key)
    before = _unless_damaged(lambda: run.registry.monitoring.scored(run.registry.monitoring.all()))
    if before is None:
        return None
    with run.workspace.scratch(f"monitor-{run.pipeline.spec.name}") as folder:
        ids = _new_rows(run, release, split, before, folder / "rows.arrow")
        if len(ids):
            scored = _scored(run, release, folder / "rows.arrow", len(ids))
            key, cached = scored.key, scored.cached
            found = _added(run, champion, release, snapshot, scored, ids)
    found = found or _standing(run, release, snapshot)
    finish(
        run,
        "monitor",
        key,
        found.sentence if found else "no row is new to the champion",
        cached,
        time.monotonic() - started,
    )
    return found


def degradation(run: Run, champion: Champion) -> str | None:
    """Why a run is due: the champion is worse than `triggers.degradation` allows on rows that were new to it."""
    rule = run.pipeline.spec.triggers.degradation
    if rule is None or champion.manifest is None:
        return None
    series, metric = run.registry.monitoring, rule.metric or run.pipeline.spec.evaluate.metrics[0]
    digest = champion.manifest.digest
    label = run.pipeline.spec.evaluate.out_of_scope
    return _unless_damaged(
        lambda: degraded(rule, metric, digest, series.all(), lambda one: with_scope(series.outcomes(one), label))
    )


def is_monitored(run: Run, champion: Champion, seen: Snapshot) -> bool:
    """Whether the series has this champion on this very snapshot: then nothing needs to be read to know it."""
    return champion.manifest is not None and _standing(run, champion.manifest, seen) is not None


def _new_rows(run: Run, release: ReleaseManifest, split: Staged[SplitReport], scored: Array, out: Path) -> Array:
    """Writes the training rows that are new to the release and to the series as a row file; their ids, in its order."""
    trained = train_keys(run.registry, release, [split.folder / "train.arrow"])
    if trained is None:
        tell(Note("monitor", "warned", f"{release.release} does not say what it trained on: no row is known to be new"))
        return np.empty(0, np.uint64)
    task = run.pipeline.spec.facts
    return write_new_rows(split.folder / "train.arrow", trained, scored, frozen_split(run).salt, out, task)


def write_new_rows(
    rows: Path, trained: Array, scored: Array, salt: str, out: Path, task: Task = TASKS["text-classification"]
) -> Array:
    """Writes each row of a set whose key is not among `trained`, and that is not among `scored`, once; their ids, in order.

    `trained`: sorted keys; `scored`: sorted ids. A row is known by its split key and its example, whatever file it comes in.
    """
    import pyarrow as pa

    from contender.data.examples import forms
    from contender.data.heldout import row_ids
    from contender.data.normalise import plain_hashes, seed_of
    from contender.data.setfile import KEY
    from contender.keys import among

    found, seed = [np.empty(0, np.uint64)], seed_of(salt, "text")
    with ExitStack() as stack:
        reader = stack.enter_context(pa.ipc.open_stream(stack.enter_context(pa.OSFile(str(rows)))))
        sink = stack.enter_context(pa.OSFile(str(out), "wb"))
        writer = stack.enter_context(pa.ipc.new_stream(sink, reader.schema))
        for batch in reader:
            new = batch.filter(pa.array(~among(batch.column(KEY).to_numpy(), trained)))
            examples = plain_hashes(forms(new, task, {role: role for role in task.roles}), seed)
            ids = row_ids(new.column(KEY).to_numpy(), np.array(examples, np.uint64))
            first = np.sort(np.unique(ids, return_index=True)[1])
            first = first[~among(ids[first], scored)]
            if len(first):
                writer.write_batch(new.take(pa.array(first)))
                found.append(ids[first])
                scored = np.union1d(scored, ids[first])
    return np.concatenate(found)


def _scored(run: Run, release: ReleaseManifest, rows: Path, count: int) -> Staged[Predictions]:
    """The release's outcomes on these rows, from the registry's bytes as an evaluation has them."""
    device, dtype = serving()

    def compute(folder: Path) -> Predictions:
        import pyarrow.parquet as pq

        model = fetch_release(run, release)
        told = rows_told("monitor", f"{release.release} on new rows", count)
        with run.hold_device() as environment, computing_on(environment):
            outcomes = kind(release.kind).predict(model, rows, on_rows=told)
        outcomes = with_ratings(run.pipeline, outcomes, rows)
        pq.write_table(outcomes, folder / "outcomes.parquet", compression="zstd")
        return Predictions(rows=outcomes.num_rows, device=device, dtype=dtype)

    key = stage_key(run.pipeline, "monitor", release=release.digest, rows=sha256_file(rows), device=device, dtype=dtype)
    return run.workspace.stage("monitor", key, Predictions, compute)


def _added(
    run: Run,
    champion: Champion,
    release: ReleaseManifest,
    snapshot: Snapshot,
    scored: Staged[Predictions],
    ids: Array,
) -> Observation | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from contender.registry.observations import ID

    assert champion.entry is not None
    asked = run.pipeline.spec.evaluate
    outcomes = pq.read_table(scored.folder / "outcomes.parquet").drop_columns(["row"])
    outcomes = outcomes.add_column(0, ID, pa.array(ids, pa.uint64()))
    about = {
        "alias": run.pipeline.spec.promote.alias,
        "alias_entry": champion.entry.n,
        "champion": release.release,
        "champion_digest": release.digest,
        "snapshot": snapshot.digest,
        "primary": asked.metrics[0],
    }

    def describe(left: pa.Table, n: int, file: str) -> Observation:
        return Observation(
            n=n,
            outcomes=file,
            at=now(),
            **about,
            **measured(with_scope(left, asked.out_of_scope), release, asked.metrics),
        )

    return _unless_damaged(lambda: run.registry.monitoring.add(outcomes, describe))


def measured(outcomes: pa.Table, release: ReleaseManifest, metrics: Sequence[str]) -> dict[str, Any]:
    """What an observation says of its rows; the first metric with bounds, where there are rows enough for them."""
    import pyarrow.compute as pc

    from contender.evaluation.metrics import scores
    from contender.evaluation.outcomes import from_table
    from contender.judging.fairness import FEWEST_UNITS
    from contender.judging.floors import value_bounds

    prepared, keys = from_table(outcomes), outcomes.column("key").to_numpy()
    kind_of = TASKS[release.kind].labels
    labels, predictions = (label_counts(outcomes.column(name), kind_of) for name in ("label", "prediction"))
    before = release.lineage.get("label_shares")
    known = set(release.label_names) if kind_of in ("one", "set") else set()
    strange = [
        entry["counts"]
        for entry in pc.value_counts(outcomes.column("label")).to_pylist()
        if not known.issuperset([entry["values"]] if kind_of == "one" else texts_of(entry["values"]) or ())
    ]
    enough = len(np.unique(keys)) >= FEWEST_UNITS
    return {
        "rows": outcomes.num_rows,
        "metrics": scores(prepared, metrics),
        "bounds": value_bounds(metrics[0], prepared, keys, (1 - LEVEL) / 2) if enough else None,
        "unknown_labels": sum(strange) if known else 0,
        "confidence": None if prepared.confidence is None else float(prepared.confidence.mean()),
        "drift": drift_of(before, shares(labels), shares(predictions), labels.total()) if before and labels else None,
    }


def _standing(run: Run, release: ReleaseManifest, snapshot: Snapshot) -> Observation | None:
    """What the series has of this release on this snapshot."""
    same = (release.digest, snapshot.digest)
    series = _unless_damaged(run.registry.monitoring.all) or []
    return next((one for one in reversed(series) if (one.champion_digest, one.snapshot) == same), None)


def _unless_damaged(act: Callable[[], T]) -> T | None:
    """What `act` gives; damage to the series is told, and stops nothing."""
    try:
        return act()
    except Damaged as error:
        tell(Note("monitor", "warned", f"{error.what}: the champion cannot be scored on new rows"))
        return None
