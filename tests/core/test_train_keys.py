from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contender.data.normalise import NORMALISER, hashes, seed_of
from contender.data.setfile import SetWriter
from contender.data.trainkeys import (
    Inherited,
    TrainKeys,
    comparable,
    descend,
    known_rows,
    parse_keys,
    train_keys_file,
    write_keys,
)
from contender.names import TASKS
from contender.records import SplitDefinition

TASK = TASKS["text-classification"]


def split_by(key: str = "text", salt: str = "mine", **others: object) -> SplitDefinition:
    return SplitDefinition(
        **{"key": key, "salt": salt, "test": 0.2, "validation": 0.1, "normaliser": NORMALISER, **others}
    )


def hashed(values: list[str], definition: SplitDefinition) -> np.ndarray:
    return np.sort(np.array(hashes(values, seed_of(definition.salt, "key")), np.uint64))


def write_set(folder: Path, name: str, texts: list[str], definition: SplitDefinition, teams: list[str | None]) -> None:
    writer = SetWriter(folder / f"{name}.arrow", {"text": "text", "label": "label"}, ["team"])
    batch = pa.record_batch({"text": texts, "label": ["a"] * len(texts), "team": pa.array(teams, pa.string())})
    writer.add(batch, np.array(hashes(texts, seed_of(definition.salt, "key")), np.uint64))
    writer.close()


OURS, THEIRS = split_by(), split_by(salt="theirs")


@pytest.fixture
def split_folder(tmp_path: Path) -> Path:
    write_set(tmp_path, "train", ["one", "two"], OURS, ["x", "y"])
    write_set(tmp_path, "validation", ["three"], OURS, ["x"])
    write_set(tmp_path, "test", ["four", "five", "Six"], OURS, ["x", "y", None])
    return tmp_path


def kept(split_folder: Path, *ancestors: Inherited) -> TrainKeys:
    train_keys_file(split_folder, split_folder / "keys.parquet", OURS, ancestors, TASK)
    return parse_keys(pq.read_table(split_folder / "keys.parquet"))


def test_without_ancestors_the_file_is_one_column(split_folder: Path) -> None:
    keys = kept(split_folder)
    assert pq.read_schema(split_folder / "keys.parquet").names == ["key"]
    assert keys.own.tolist() == hashed(["one", "two", "three"], OURS).tolist()
    assert keys.inherited == ()


def test_held_out_rows_that_an_ancestor_of_another_pipeline_trained_on_are_among_the_keys(split_folder: Path) -> None:
    ancestor = Inherited(THEIRS, hashed(["four", " SIX ", "elsewhere"], THEIRS))
    keys = kept(split_folder, ancestor)
    assert keys.own.tolist() == hashed(["one", "two", "three", "four", "six"], OURS).tolist()
    ((definition, found),) = [(one.definition, one.keys) for one in keys.inherited]
    assert (definition, found.tolist()) == (THEIRS, ancestor.keys.tolist())


def test_ancestors_of_the_same_pipeline_hash_alike_and_join_its_own(split_folder: Path) -> None:
    keys = kept(split_folder, Inherited(split_by(test=0.5), hashed(["before"], OURS)))
    assert keys.own.tolist() == hashed(["one", "two", "three", "before"], OURS).tolist()
    assert keys.inherited == ()


def test_two_ancestors_of_one_pipeline_are_one_set_and_the_order_does_not_matter(tmp_path: Path) -> None:
    others = [
        Inherited(split_by(salt=salt), np.array(keys, np.uint64))
        for salt, keys in (("b", [3]), ("a", [2]), ("b", [1, 3]))
    ]
    files = []
    for order in (others, others[::-1]):
        write_keys(tmp_path / "keys", descend([np.array([9], np.uint64)], OURS, order))
        files.append((tmp_path / "keys").read_bytes())
    assert files[0] == files[1]
    found = parse_keys(pq.read_table(tmp_path / "keys"))
    assert [(one.definition.salt, one.keys.tolist()) for one in found.inherited] == [("a", [2]), ("b", [1, 3])]


def test_rows_are_found_by_the_column_that_the_ancestor_was_split_by_and_not_by_an_empty_one(
    split_folder: Path,
) -> None:
    by_team = split_by("team", salt="theirs")
    ancestor = Inherited(by_team, hashed(["y", ""], by_team))
    assert known_rows([split_folder / "test.arrow"], [ancestor], TASK).tolist() == hashed(["five"], OURS).tolist()


def test_what_is_no_column_here_or_was_normalised_otherwise_finds_nothing_and_is_told(split_folder: Path) -> None:
    strangers = [split_by("customer", salt="theirs"), split_by(salt="theirs", normaliser=NORMALISER + 1)]
    for definition in strangers:
        ancestor = Inherited(definition, hashed(["four", "x"], definition))
        assert not len(known_rows([split_folder / "test.arrow"], [ancestor], TASK))
        assert not comparable(definition, ["text", "label", "team"])
    assert comparable(split_by("team"), ["text", "label", "team"])
