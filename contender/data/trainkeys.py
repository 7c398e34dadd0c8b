"""What a release trained on, as hashes of split keys: of its own pipeline, and of the releases that it was made from.

Each pipeline hashes with a salt of its own, so hashes of two pipelines cannot be compared. What an ancestor of another pipeline
trained on is therefore kept with the definition that it was hashed by, and rows are hashed by that to find out.

    train_keys.parquet    key uint64; with ancestors also `of`: 0 for its own, n for the n-th definition in the file's metadata
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contender.data.examples import forms
from contender.data.normalise import NORMALISER, hashes, plain_hashes, seed_of
from contender.data.rowfile import read_batches
from contender.data.setfile import KEY
from contender.keys import among
from contender.names import EXAMPLE, TASKS, Task
from contender.records import SplitDefinition

Array = np.ndarray[Any, np.dtype[Any]]

DEFINITIONS = b"definitions"
SEEN = ("train", "validation")  # the sets that a training sees
EXAMPLES = {EXAMPLE, *(task.example for task in TASKS.values())}  # split keys that are the example itself


@dataclass(frozen=True)
class Inherited:
    """Sorted keys that ancestors trained on, and how they were hashed."""

    definition: SplitDefinition
    keys: Array


@dataclass(frozen=True)
class TrainKeys:
    """Sorted keys that a release trained on, of its own pipeline, and what its ancestors did."""

    own: Array
    inherited: tuple[Inherited, ...] = ()


def joined(parts: Iterable[Array]) -> Array:
    """Every key once, sorted."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def descend(own: Iterable[Array], definition: SplitDefinition, ancestors: Iterable[Inherited]) -> TrainKeys:
    """The keys of a release that is made from others: those hashed as its own pipeline does become its own."""
    mine = list(own)
    others: dict[tuple[str, str, int], Inherited] = {}
    for ancestor in ancestors:
        if _same(ancestor.definition, definition):
            mine.append(ancestor.keys)
        else:
            how = (ancestor.definition.salt, ancestor.definition.key, ancestor.definition.normaliser)
            before = others.get(how)
            keys = joined([ancestor.keys, *([before.keys] if before else [])])
            others[how] = Inherited(ancestor.definition, keys)
    return TrainKeys(joined(mine), tuple(others[how] for how in sorted(others)))


def train_keys_file(
    split_folder: Path,
    out: Path,
    definition: SplitDefinition,
    ancestors: Sequence[Inherited] = (),
    task: Task = TASKS["text-classification"],
) -> None:
    """The keys that training saw, to choose weights or a checkpoint, and what its `ancestors` did.

    Held-out rows that an ancestor trained on are among the keys, too.
    """
    trained = [batch.column(KEY).to_numpy() for name in SEEN for batch in read_batches(split_folder / f"{name}.arrow")]
    held_out = sorted(path for path in split_folder.glob("*.arrow") if path.stem not in SEEN)
    keys = descend([*trained, known_rows(held_out, ancestors, task)], definition, ancestors)
    write_keys(out, keys)


def _same(one: SplitDefinition, other: SplitDefinition) -> bool:
    return (one.salt, one.key, one.normaliser) == (other.salt, other.key, other.normaliser)


def write_keys(path: Path, keys: TrainKeys) -> None:
    import pyarrow.parquet as pq

    columns = {"key": pa.array(keys.own, pa.uint64())}
    metadata = None
    if keys.inherited:
        every = [keys.own, *(ancestor.keys for ancestor in keys.inherited)]
        columns["key"] = pa.array(np.concatenate(every), pa.uint64())
        columns["of"] = pa.array(np.repeat(np.arange(len(every)), [len(one) for one in every]), pa.int32())
        definitions = [ancestor.definition.model_dump(mode="json") for ancestor in keys.inherited]
        metadata = {DEFINITIONS: json.dumps(definitions, sort_keys=True).encode()}
    pq.write_table(pa.table(columns, metadata=metadata), path, compression="zstd")


def parse_keys(table: pa.Table) -> TrainKeys:
    """What `write_keys` wrote."""
    keys = table.column("key").to_numpy()
    if "of" not in table.column_names:
        return TrainKeys(keys)
    of = table.column("of").to_numpy()
    definitions = [SplitDefinition.model_validate(one) for one in json.loads(table.schema.metadata[DEFINITIONS])]
    return TrainKeys(keys[of == 0], tuple(Inherited(one, keys[of == n]) for n, one in enumerate(definitions, start=1)))


def known_rows(rows: Iterable[Path], ancestors: Sequence[Inherited], task: Task) -> Array:
    """The own keys, sorted, of the rows of a split's files that an ancestor trained on.

    A row is known by what the ancestor's pipeline split by: the example, or a column that the files hold; by nothing else.
    """
    found = []
    for batch in (batch for path in rows for batch in read_batches(path)) if ancestors else ():
        keys = batch.column(KEY).to_numpy()
        found += [keys[seen] for ancestor in ancestors for seen in _seen(batch, ancestor, task)]
    return joined(found)


def comparable(definition: SplitDefinition, columns: Iterable[str]) -> bool:
    """Whether files with these columns tell which of their rows were hashed by the definition."""
    return definition.normaliser == NORMALISER and (definition.key in EXAMPLES or definition.key in columns)


def _seen(batch: pa.RecordBatch, ancestor: Inherited, task: Task) -> Iterator[Array]:
    definition = ancestor.definition
    if not comparable(definition, batch.schema.names):
        return
    seed = seed_of(definition.salt, "key")
    if definition.key in EXAMPLES:
        yield among(np.array(plain_hashes(forms(batch, task, _as_roles(task)), seed), np.uint64), ancestor.keys)
        return
    values = batch.column(definition.key)
    told = ~values.is_null().to_numpy(zero_copy_only=False)  # a row without a key is not the ancestor's without one
    hashed = np.array(hashes((value or "" for value in values.to_pylist()), seed), np.uint64)
    yield among(hashed, ancestor.keys) & told


def _as_roles(task: Task) -> Mapping[str, str]:
    return {role: role for role in task.roles}
