"""The split: which rows train, validate and test, by a stable hash of the split key.

    hash(key) / 2^64:  0 ─── test ───┬─── validation ───┬─────────── train ─────────── 1

A row's set depends on the pipeline's salt and its own key alone, so it never moves while data grows, shrinks or changes order.
Two passes over the row file, batch by batch. The first hashes keys and texts (16 bytes per row, kept in a file); the second
writes the sets. In memory stay 24 bytes per held-out row. Equality of texts is equality of 64-bit salted hashes: among a hundred
million pairs of rows the chance of one false match is below one in a hundred thousand million.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contender.data.normalise import NORMALISER, hashes, seed_of
from contender.data.rowfile import FILE, ROW, read_batches
from contender.data.values import as_text
from contender.errors import DataError, UsageError
from contender.records import SplitDefinition, SplitReport, sha256_hex

__all__ = ["KEY", "NORMALISER", "split", "train_keys_file"]

KEY = "_key"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing


def split(
    rows: Path,
    admitted: Path,
    columns: Mapping[str, str],
    keep: Sequence[str],
    definition: SplitDefinition,
    golden: Mapping[str, Path],
    out: Path,
) -> SplitReport:
    """Deals the admitted rows of a row file and writes one row file per set into `out`.

    `admitted` is an .npy of sorted int64 row numbers; `columns` maps roles to columns. A set's file holds its roles and the `keep`
    columns as text, and `_key`, the uint64 hash of the split key. Held-out rows that repeat key and text, and train or validation
    rows with the text of a held-out row, are left out and counted. Raises DataError where no rows or one class are left to train.
    """
    _check_definition(definition, columns, keep)
    dealing = _Dealing(columns, tuple(keep), definition)
    held = {f"golden-{name}": _load_golden(name, path, dealing) for name, path in sorted(golden.items())}
    indices = np.load(admitted, mmap_mode="r")
    hashed = out / ".hashes"
    try:
        test = _first_pass(rows, indices, dealing, hashed)
        held_texts = np.unique(np.concatenate([test.texts, *(one.texts for one in held.values())]))
        sets = {name: _SetWriter(out / f"{name}.arrow", dealing) for name in _set_names(definition, held)}
        try:
            leaks = _second_pass(rows, indices, dealing, hashed, test, held_texts, sets)
            for name, one in held.items():
                _write_golden(golden[name.removeprefix("golden-")], dealing, one, sets[name])
        finally:
            for writer in sets.values():
                writer.close()
    finally:
        hashed.unlink(missing_ok=True)
    report = SplitReport(
        rows={name: writer.rows for name, writer in sets.items()},
        digests={name: writer.digest for name, writer in sets.items()},
        removed_leaks=leaks,
        removed_duplicates=test.repeated + sum(one.repeated for one in held.values()),
        labels=tuple(sorted({*sets[TRAIN].labels, *sets[VALIDATION].labels})),
        label_counts={name: dict(sorted(writer.labels.items())) for name, writer in sets.items()},
    )
    return _checked(report)


def train_keys_file(split_folder: Path, out: Path) -> None:
    """The keys that training saw, to choose weights or a checkpoint: parquet, one sorted uint64 column `key`, no key twice."""
    import pyarrow.parquet as pq

    parts = [
        batch.column(KEY).to_numpy()
        for name in (TRAIN, VALIDATION)
        for batch in read_batches(split_folder / f"{name}.arrow")
    ]
    keys = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
    pq.write_table(pa.table({"key": pa.array(keys, pa.uint64())}), out, compression="zstd")


@dataclass(frozen=True)
class _Dealing:
    """What every pass needs to know: roles, kept columns, seeds, bounds."""

    columns: Mapping[str, str]
    keep: tuple[str, ...]
    definition: SplitDefinition

    @property
    def key_column(self) -> str:
        return self.columns.get(self.definition.key, self.definition.key)

    @property
    def key_seed(self) -> int:
        return seed_of(self.definition.salt, "key")

    def bounds(self) -> np.ndarray[Any, Any]:
        """Hashes below the first are test, below the second validation; compared as shares of 2^64."""
        test = self.definition.test
        return np.array([test, test + self.definition.validation])

    def shares(self, keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # The upper 53 bits are what a float64 holds exactly.
        return np.asarray((keys >> np.uint64(11)).astype(np.float64) / 2.0**53)

    def hashed(self, batch: pa.RecordBatch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(key hashes, text hashes) of a batch; the text's own where the data has no key column, as golden sets may not."""
        text = as_text(batch.column(self.columns["text"])).to_pylist()
        texts = np.array(hashes(text, seed_of(self.definition.salt, "text")), np.uint64)
        column = self.key_column
        if column not in batch.schema.names:
            column = self.columns["text"]
        keys = text if column == self.columns["text"] else as_text(batch.column(column)).to_pylist()
        # A row without a key is a key of its own kind: all of them stay together.
        return np.array(hashes((key or "" for key in keys), self.key_seed), np.uint64), texts


@dataclass
class _Held:
    """The rows of one held-out set, in order: which of them stay, and the hashes of their texts."""

    pairs: list[np.ndarray[Any, Any]] = field(default_factory=list)
    parts: list[np.ndarray[Any, Any]] = field(default_factory=list)
    stays: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty(0, bool))
    texts: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty(0, np.uint64))

    def add(self, keys: np.ndarray[Any, Any], texts: np.ndarray[Any, Any]) -> None:
        self.pairs.append((keys * MIX) ^ texts)
        self.parts.append(texts)

    def finish(self) -> _Held:
        pairs = np.concatenate([np.empty(0, np.uint64), *self.pairs])
        _, first = np.unique(pairs, return_index=True)
        self.stays = np.zeros(len(pairs), bool)
        self.stays[first] = True
        self.texts = np.unique(np.concatenate([np.empty(0, np.uint64), *self.parts]))
        self.pairs, self.parts = [], []
        return self

    @property
    def repeated(self) -> int:
        return int((~self.stays).sum())


class _SetWriter:
    """One set's row file, its counts, and its digest, which depends on the rows and not on how they came in batches."""

    def __init__(self, path: Path, dealing: _Dealing) -> None:
        self.rows = 0
        self.labels: Counter[str] = Counter()
        self._dealing = dealing
        names = [*dealing.columns, *dealing.keep]
        self._schema = pa.schema([*((name, pa.string()) for name in names), (KEY, pa.uint64())])
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        self._parts = [hashlib.sha256() for _ in range(1 + 2 * len(dealing.columns))]

    def add(self, batch: pa.RecordBatch, keys: np.ndarray[Any, Any]) -> None:
        if not batch.num_rows:
            return
        roles = [as_text(batch.column(column)) for column in self._dealing.columns.values()]
        kept = [self._kept(batch, name) for name in self._dealing.keep]
        arrays = [*roles, *kept, pa.array(keys, pa.uint64())]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.rows += batch.num_rows
        self._digest(keys, roles)
        label = roles[list(self._dealing.columns).index("label")]
        for entry in pc.value_counts(label).to_pylist():
            self.labels[entry["values"]] += entry["counts"]

    def close(self) -> None:
        if not self.rows:
            # datasets cannot open a stream without any batch.
            self._writer.write_batch(pa.RecordBatch.from_pylist([], schema=self._schema))
        self._writer.close()
        self._sink.close()

    @property
    def digest(self) -> str:
        return sha256_hex(b"".join(part.digest() for part in self._parts))

    def _kept(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        there = name in batch.schema.names
        return as_text(batch.column(name)) if there else pa.nulls(batch.num_rows, pa.string())

    def _digest(self, keys: np.ndarray[Any, Any], roles: Sequence[pa.Array]) -> None:
        self._parts[0].update(keys.astype("<u8").tobytes())
        for number, array in enumerate(roles):
            self._parts[1 + 2 * number].update(pc.binary_length(array).to_numpy().astype("<i8").tobytes())
            self._parts[2 + 2 * number].update("".join(array.to_pylist()).encode("utf-8", "surrogatepass"))


def _set_names(definition: SplitDefinition, held: Mapping[str, _Held]) -> list[str]:
    return [TRAIN, VALIDATION, *([TEST] if definition.test else []), *held]


def _check_definition(definition: SplitDefinition, columns: Mapping[str, str], keep: Sequence[str]) -> None:
    if definition.by != "hash":
        raise UsageError(f"data.split by {definition.by} is not supported yet", "Split by the hash of a key.")
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


def _admitted(rows: Path, indices: np.ndarray[Any, Any], dealing: _Dealing) -> Iterator[pa.RecordBatch]:
    """The admitted rows, batch by batch, with the columns that a split needs; DataError where a role is null."""
    start = 0
    for batch in read_batches(rows):
        first, last = np.searchsorted(indices, [start, start + batch.num_rows])
        chosen = np.asarray(indices[first:last]) - start
        start += batch.num_rows
        if len(chosen):
            taken = batch if len(chosen) == batch.num_rows else batch.take(pa.array(chosen))
            advice = "Add expect_column_values_to_not_be_null for every role to the suite, or correct the row."
            _check_roles(taken, dealing.columns, "the quality gate admitted rows", advice)
            yield taken


def _check_roles(batch: pa.RecordBatch, columns: Mapping[str, str], who: str, advice: str) -> None:
    for role, column in columns.items():
        if batch.column(column).null_count:
            place = pc.index(pc.is_null(batch.column(column)), True).as_py()
            where = f"row {batch.column(ROW)[place]} of {batch.column(FILE)[place]}"
            raise DataError(f"{who} without a {role}, such as {where} ({column} is null)", advice)


def _first_pass(rows: Path, indices: np.ndarray[Any, Any], dealing: _Dealing, hashed: Path) -> _Held:
    """Hashes every admitted row into the file `hashed`, and finds which test rows stay."""
    test = _Held()
    with hashed.open("wb") as sink:
        for batch in _admitted(rows, indices, dealing):
            keys, texts = dealing.hashed(batch)
            sink.write(np.stack([keys, texts]).tobytes())
            held = dealing.shares(keys) < dealing.bounds()[0]
            test.add(keys[held], texts[held])
    return test.finish()


def _second_pass(
    rows: Path,
    indices: np.ndarray[Any, Any],
    dealing: _Dealing,
    hashed: Path,
    test: _Held,
    held_texts: np.ndarray[Any, Any],
    sets: Mapping[str, _SetWriter],
) -> int:
    """Writes train, validation and test; the number of rows left out because a held-out row has their text."""
    leaks = seen = 0
    with hashed.open("rb") as source:
        for batch in _admitted(rows, indices, dealing):
            keys, texts = np.frombuffer(source.read(16 * batch.num_rows), np.uint64).reshape(2, -1)
            number = np.searchsorted(dealing.bounds(), dealing.shares(keys), side="right")
            is_test = number == 0
            stays = is_test.copy()
            stays[is_test] = test.stays[seen : seen + int(is_test.sum())]
            seen += int(is_test.sum())
            leaked = ~is_test & _among(texts, held_texts)
            leaks += int(leaked.sum())
            chosen = {TEST: stays, VALIDATION: (number == 1) & ~leaked, TRAIN: (number == 2) & ~leaked}
            for name, mask in chosen.items():
                if mask.any():
                    sets[name].add(batch.filter(pa.array(mask)), keys[mask])
    return leaks


def _among(values: np.ndarray[Any, Any], known: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which values are among the sorted known ones."""
    if not len(known):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[places] == values)


def _load_golden(name: str, path: Path, dealing: _Dealing) -> _Held:
    held = _Held()
    for batch in read_batches(path):
        advice = "Correct the row, or take it out: golden sets pass no quality gate."
        _check_roles(batch, dealing.columns, f"golden set {name} has rows", advice)
        held.add(*dealing.hashed(batch))
    return held.finish()


def _write_golden(path: Path, dealing: _Dealing, held: _Held, writer: _SetWriter) -> None:
    seen = 0
    for batch in read_batches(path):
        stays = held.stays[seen : seen + batch.num_rows]
        seen += batch.num_rows
        keys, _ = dealing.hashed(batch)
        writer.add(batch.filter(pa.array(stays)), keys[stays])


def _checked(report: SplitReport) -> SplitReport:
    """The report itself; DataError where nothing can be learned from the training rows, or judged on the held-out ones."""
    if not report.rows[TRAIN]:
        raise DataError(
            f"no rows are left to train on: {', '.join(f'{count:,} {name}' for name, count in report.rows.items())}, "
            f"{report.removed_leaks:,} removed because a held-out row has their text",
            "Bring more rows, or hold out less in data.split.",
        )
    if not report.rows.get(TEST, 1):
        raise DataError(
            f"no row fell into test: {', '.join(f'{count:,} {name}' for name, count in report.rows.items())}",
            "Bring more rows: a share of so few may well be none.",
        )
    classes = report.label_counts[TRAIN]
    if len(classes) < 2:
        raise DataError(
            f"all {report.rows[TRAIN]:,} training rows have the label {next(iter(classes))!r}",
            "A classifier needs rows of two labels or more: check data.columns.label, or bring rows of other labels.",
        )
    return report
