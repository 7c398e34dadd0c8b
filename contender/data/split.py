"""The split: which rows train, validate and test, by a stable hash of the split key.

    hash(key) / 2^64:  0 ─── test ───┬─── validation ───┬─────────── train ─────────── 1

A row's set depends on the pipeline's salt and its own key alone, so it never moves while data grows, shrinks or changes order.
Two passes over the row file, batch by batch. The first hashes keys and texts (16 bytes per row, kept in a file); the second
writes the sets. In memory stay 32 bytes per held-out row, and 172 per held-out text where near-duplicates are looked for. Equality
of texts is equality of 64-bit salted hashes: among a hundred million pairs of rows the chance of one false match is below one in a
hundred thousand million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contender.data.examples import forms
from contender.data.heldout import Conflicts, Held
from contender.data.jsonlists import label_sets
from contender.data.near import HeldTexts, NearDuplicates
from contender.data.normalise import NORMALISER, hashes, plain_hashes, seed_of
from contender.data.rowfile import FILE, ROW, read_batches
from contender.data.setfile import KEY, SetWriter
from contender.data.timesplit import Cuts, cuts
from contender.data.values import as_text
from contender.errors import DataError, UsageError
from contender.keys import among
from contender.names import EXAMPLE, TASKS, Task
from contender.records import SplitDefinition, SplitReport

__all__ = ["KEY", "NORMALISER", "split"]

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split(
    rows: Path,
    admitted: Path,
    columns: Mapping[str, str],
    keep: Sequence[str],
    definition: SplitDefinition,
    golden: Mapping[str, Path],
    out: Path,
    near_duplicates: float | None = None,
    *,
    task: Task = TASKS["text-classification"],
    made: Sequence[str] = (),
    on_rows: Callable[[int], None] | None = None,
    on_held: Callable[[int], None] | None = None,
) -> SplitReport:
    """Deals the admitted rows of a row file and writes one row file per set into `out`.

    `admitted` is an .npy of sorted int64 row numbers; `columns` maps the roles of `task` to columns. What is called a text here is the
    normalised example, whatever the task reads. A set's file holds its roles and the `keep` columns as text, and `_key`, the uint64
    hash of the split key; train and validation of a split by time also `_split_time`. Left out and counted are held-out rows that
    repeat key and text, all of those whose labels differ then (`conflicts.csv` names them), and train or validation rows with the text
    of a held-out row, or one as similar to it as `near_duplicates` says (contender/data/near.py; None or 1: only the same text).
    `on_rows` hears how many rows were dealt, `on_held` how many held-out texts were indexed. Raises DataError where no rows or one
    class are left to train, or nothing of a held-out set.
    """
    _check_definition(definition, columns, keep)
    indices = np.load(admitted, mmap_mode="r")
    ends = None
    if definition.by == "time":
        ends = cuts(definition, lambda: _admitted(rows, indices, columns))
    dealing = _Dealing(columns, tuple(keep), definition, task, ends, tuple(made))
    with ExitStack() as stack:
        threshold = 1.0 if near_duplicates is None or not task.words else near_duplicates
        kept = HeldTexts(out / ".held") if threshold < 1 else None
        if kept is not None:
            stack.callback(kept.close)
        held = {f"golden-{name}": _load_golden(name, path, dealing, kept) for name, path in sorted(golden.items())}
        hashed = out / ".hashes"
        stack.callback(hashed.unlink, missing_ok=True)
        test = _first_pass(rows, indices, dealing, hashed, kept)
        timed = dict.fromkeys((TRAIN, VALIDATION), definition.column)  # what folds are made of
        sets = {
            name: SetWriter(out / f"{name}.arrow", columns, keep, task, timed.get(name))
            for name in _set_names(definition, held)
        }
        for writer in sets.values():
            stack.callback(writer.close)
        conflicts = Conflicts(out / "conflicts.csv", columns, task.target, task.example)
        stack.callback(conflicts.close)
        texts = np.unique(np.concatenate([test.texts, *(one.texts for one in held.values())]))
        leaks = _Leaks(texts, None if kept is None else NearDuplicates(kept.finish(), threshold, on_held))
        _second_pass(rows, indices, dealing, hashed, test, leaks, sets, conflicts, on_rows)
        for name, one in held.items():
            _write_golden(name, golden[name.removeprefix("golden-")], dealing, one, sets[name], conflicts)
    for name, one in {TEST: test, **held}.items():
        conflicts.check(name, one)
    dealt = sum(sets[name].rows for name in (TRAIN, VALIDATION, TEST) if name in sets)
    report = SplitReport(
        rows={name: writer.rows for name, writer in sets.items()},
        digests={name: writer.digest for name, writer in sets.items()},
        removed_leaks=leaks.equal,
        removed_near_duplicates=leaks.near,
        removed_duplicates=test.repeated + sum(one.repeated for one in held.values()),
        removed_conflicts=test.conflicts + sum(one.conflicts for one in held.values()),
        labels=tuple(sorted({*sets[TRAIN].labels, *sets[VALIDATION].labels})),
        label_counts={name: dict(sorted(writer.labels.items())) for name, writer in sets.items()},
        removed_gap=len(indices) - dealt - leaks.equal - leaks.near - test.repeated - test.conflicts,
        begins={} if ends is None else ends.begins,
    )
    return _checked(report, task)


@dataclass(frozen=True)
class _Dealing:
    """What every pass needs to know: roles, kept columns, seeds, bounds."""

    columns: Mapping[str, str]
    keep: tuple[str, ...]
    definition: SplitDefinition
    task: Task
    ends: Cuts | None = None  # of a split by time
    made: tuple[str, ...] = ()  # columns that are no part of what a row is

    @property
    def distinct(self) -> bool:
        """Whether a row says what it is. Rows of a table without an id may be equal by chance: they share a key, and all stay."""
        return self.task.example is not None or self.key_column is not None

    @property
    def key_column(self) -> str | None:
        """None where the example decides itself."""
        if self.definition.key in (EXAMPLE, self.task.example):
            return None
        column = self.columns.get(self.definition.key, self.definition.key)
        return None if self.task.example and column == self.columns[self.task.example] else column

    @property
    def key_seed(self) -> int:
        return seed_of(self.definition.salt, "key")

    def bounds(self) -> np.ndarray[Any, Any]:
        """Hashes below the first are test, below the second validation; compared as shares of 2^64."""
        test = self.definition.test
        return np.array([test, test + self.definition.validation])

    def places(self, batch: pa.RecordBatch, keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The set of each row: 0 test, 1 validation, 2 train, more: none."""
        if self.ends is not None:
            return self.ends.places(batch)
        # The upper 53 bits are what a float64 holds exactly.
        shares = (keys >> np.uint64(11)).astype(np.float64) / 2.0**53
        return np.searchsorted(self.bounds(), shares, side="right")

    def normalised(self, batch: pa.RecordBatch) -> list[str]:
        """The normalised examples of a batch."""
        return forms(batch, self.task, self.columns, self.made)

    def texts(self, examples: Sequence[str]) -> np.ndarray[Any, Any]:
        """Hashes of normalised texts."""
        return np.array(plain_hashes(examples, seed_of(self.definition.salt, "text")), np.uint64)

    def keys(self, batch: pa.RecordBatch, examples: Sequence[str]) -> np.ndarray[Any, Any]:
        """Key hashes of a batch; the text's own where the data has no key column, as golden sets may not."""
        column = self.key_column
        if column is None or column not in batch.schema.names:
            return np.array(plain_hashes(examples, self.key_seed), np.uint64)
        keys = as_text(batch.column(column)).to_pylist()
        # A row without a key is a key of its own kind: all of them stay together.
        return np.array(hashes((key or "" for key in keys), self.key_seed), np.uint64)

    def labels(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """Hashes of the targets, of sets in no order; all alike where the same example may well have several right answers."""
        if self.task.labels == "none":
            return np.zeros(batch.num_rows, np.uint64)
        cells = as_text(batch.column(self.columns[self.task.target]))
        labels = label_sets(cells) if self.task.labels == "set" else cells
        return np.array(plain_hashes(labels.to_pylist(), seed_of(self.definition.salt, "label")), np.uint64)


def _set_names(definition: SplitDefinition, held: Mapping[str, Held]) -> list[str]:
    return [TRAIN, VALIDATION, *([TEST] if definition.test else []), *held]


def _check_definition(definition: SplitDefinition, columns: Mapping[str, str], keep: Sequence[str]) -> None:
    if definition.normaliser != NORMALISER:
        raise UsageError(
            f"this pipeline's split was made with revision {definition.normaliser} of the normaliser, this version has {NORMALISER}",
            "Use the version of contender that made it, or start a new pipeline under another name.",
        )
    if taken := [name for name in keep if name in columns and columns[name] != name]:
        raise UsageError(
            f"evaluate.slices names the column {taken[0]}, which is also the name of a role of another column",
            "Rename the column in the data.",
        )


def _admitted(rows: Path, indices: np.ndarray[Any, Any], columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The admitted rows, batch by batch, with the columns that a split needs; DataError where a role is null."""
    start = 0
    for batch in read_batches(rows):
        first, last = np.searchsorted(indices, [start, start + batch.num_rows])
        chosen = np.asarray(indices[first:last]) - start
        start += batch.num_rows
        if len(chosen):
            taken = batch if len(chosen) == batch.num_rows else batch.take(pa.array(chosen))
            advice = "Add expect_column_values_to_not_be_null for every role to the suite, or correct the row."
            _check_roles(taken, columns, "the quality gate admitted rows", advice)
            yield taken


def _check_roles(batch: pa.RecordBatch, columns: Mapping[str, str], who: str, advice: str) -> None:
    for role, column in columns.items():
        if batch.column(column).null_count:
            place = pc.index(pc.is_null(batch.column(column)), True).as_py()
            where = f"row {batch.column(ROW)[place]} of {batch.column(FILE)[place]}"
            raise DataError(f"{who} without a {role}, such as {where} ({column} is null)", advice)


@dataclass
class _Leaks:
    """What training must not see, and how many rows were left out for it."""

    texts: np.ndarray[Any, Any]  # hashes of held-out texts, sorted
    index: NearDuplicates | None
    equal: int = 0
    near: int = 0

    def among(self, batch: pa.RecordBatch, texts: np.ndarray[Any, Any], dealing: _Dealing) -> np.ndarray[Any, Any]:
        """Which rows have the text of a held-out one, or nearly."""
        leaked = among(texts, self.texts)
        self.equal += int(leaked.sum())
        if self.index is not None and not leaked.all():
            others = np.flatnonzero(~leaked)
            near = self.index.among(texts[others], dealing.normalised(batch.take(pa.array(others))))
            self.near += int(near.sum())
            leaked[others] = near
        return leaked


def _first_pass(
    rows: Path, indices: np.ndarray[Any, Any], dealing: _Dealing, hashed: Path, kept: HeldTexts | None
) -> Held:
    """Hashes every admitted row into the file `hashed`, and finds which test rows stay; their texts go into `kept`."""
    test = Held(distinct=dealing.distinct)
    with hashed.open("wb") as sink:
        for batch in _admitted(rows, indices, dealing.columns):
            examples = dealing.normalised(batch)
            keys, texts = dealing.keys(batch, examples), dealing.texts(examples)
            sink.write(np.stack([keys, texts]).tobytes())
            held = dealing.places(batch, keys) == 0
            test.add(keys[held], texts[held], dealing.labels(batch.filter(pa.array(held))))
            if kept is not None:
                kept.add(texts[held], [examples[place] for place in np.flatnonzero(held)])
    return test.finish()


def _second_pass(
    rows: Path,
    indices: np.ndarray[Any, Any],
    dealing: _Dealing,
    hashed: Path,
    test: Held,
    leaks: _Leaks,
    sets: Mapping[str, SetWriter],
    conflicts: Conflicts,
    on_rows: Callable[[int], None] | None,
) -> None:
    """Writes train, validation and test, and the conflicts of test."""
    dealt = seen = 0
    with hashed.open("rb") as source:
        for batch in _admitted(rows, indices, dealing.columns):
            keys, texts = np.frombuffer(source.read(16 * batch.num_rows), np.uint64).reshape(2, -1)
            number = dealing.places(batch, keys)
            is_test, trains = number == 0, (number == 1) | (number == 2)
            of_test = slice(seen, seen + int(is_test.sum()))
            seen = of_test.stop
            stays = ~is_test
            stays[is_test] = test.stays[of_test]
            stays[trains] = ~leaks.among(batch.filter(pa.array(trains)), texts[trains], dealing)
            for place, name in enumerate((TEST, VALIDATION, TRAIN)):
                mask = stays & (number == place)
                if mask.any():
                    sets[name].add(batch.filter(pa.array(mask)), keys[mask])
            conflicts.add(TEST, batch.filter(pa.array(is_test)).filter(pa.array(test.conflicting[of_test])))
            dealt += batch.num_rows
            if on_rows is not None:
                on_rows(dealt)


def _load_golden(name: str, path: Path, dealing: _Dealing, kept: HeldTexts | None) -> Held:
    held = Held(distinct=dealing.distinct)
    for batch in read_batches(path):
        advice = "Correct the row, or take it out: golden sets pass no quality gate."
        _check_roles(batch, dealing.columns, f"golden set {name} has rows", advice)
        examples = dealing.normalised(batch)
        texts = dealing.texts(examples)
        held.add(dealing.keys(batch, examples), texts, dealing.labels(batch))
        if kept is not None:
            kept.add(texts, examples)
    return held.finish()


def _write_golden(
    name: str, path: Path, dealing: _Dealing, held: Held, writer: SetWriter, conflicts: Conflicts
) -> None:
    seen = 0
    for batch in read_batches(path):
        part = slice(seen, seen + batch.num_rows)
        seen = part.stop
        stays = held.stays[part]
        keys = dealing.keys(batch, dealing.normalised(batch))
        writer.add(batch.filter(pa.array(stays)), keys[stays])
        conflicts.add(name, batch.filter(pa.array(held.conflicting[part])))


def _checked(report: SplitReport, task: Task) -> SplitReport:
    """The report itself; DataError where nothing can be learned from the training rows, or judged on the held-out ones."""
    if not report.rows[TRAIN]:
        raise DataError(
            f"no rows are left to train on: {', '.join(f'{count:,} {name}' for name, count in report.rows.items())}, "
            f"{report.removed_leaks + report.removed_near_duplicates:,} removed because a held-out row has their text"
            + (f" or nearly ({report.removed_near_duplicates:,})" if report.removed_near_duplicates else ""),
            "Bring more rows, or hold out less in data.split"
            + (", or raise data.split.near_duplicates." if report.removed_near_duplicates else "."),
        )
    if not report.rows.get(TEST, 1):
        raise DataError(
            f"no row fell into test: {', '.join(f'{count:,} {name}' for name, count in report.rows.items())}",
            "Bring more rows: a share of so few may well be none.",
        )
    classes = report.label_counts[TRAIN]
    if task.labels != "none" and len(classes) < 2:
        only = next(iter(classes), "")
        alike = f"all {report.rows[TRAIN]:,} training rows have the label {only!r}"
        raise DataError(
            alike if task.labels == "one" else f"the training rows have fewer than two labels: {only or 'none'}",
            f"A classifier needs rows of two labels or more: check data.columns.{task.target}, or bring rows of other labels.",
        )
    return report
