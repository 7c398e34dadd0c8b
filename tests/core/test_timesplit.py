"""The split by time: the newest rows test, ends follow from the data, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contender.data.normalise import NORMALISER
from contender.data.rowfile import RowWriter, open_rows
from contender.data.split import split
from contender.data.times import DAY, written
from contender.data.trainkeys import train_keys_file
from contender.errors import DataError, SpecError
from contender.keys import among
from contender.loading import validate
from contender.records import SplitDefinition, SplitReport
from contender.yamlfile import parse_yaml

COLUMNS = {"text": "body", "label": "intent"}
MINIMAL = """name: a
task: text-classification
data:
  source: d/
  split: {}
model: {{base: b}}
"""


def dealt(folder: Path, days: list[Any], batch: int = 7, **changes: Any) -> tuple[SplitReport, dict[str, list[str]]]:
    """The report, and the texts of each set; the rows' texts are their numbers."""
    folder.mkdir(exist_ok=True)
    writer = RowWriter(folder / "rows.arrow")
    writer.begin("data.csv")
    for start in range(0, len(days), batch):
        part = range(start, min(start + batch, len(days)))
        times = [None if days[n] is None else written(days[n] * DAY) for n in part]
        cells = {"body": [f"row {n}" for n in part], "intent": [f"l{n % 2}" for n in part], "at": times}
        writer.add(pa.record_batch({name: pa.array(values, pa.string()) for name, values in cells.items()}))
    writer.close()
    np.save(folder / "admitted.npy", np.arange(len(days)))
    lengths = {"test": 7 * DAY, "validation": 3 * DAY, "gap": 0.0}
    definition = SplitDefinition(
        **{"by": "time", "column": "at", "key": "text", "salt": "s", "normaliser": NORMALISER} | lengths | changes
    )
    report = split(folder / "rows.arrow", folder / "admitted.npy", COLUMNS, (), definition, {}, folder)
    return report, {name: open_rows(folder / f"{name}.arrow")["text"][:] for name in report.rows}


def test_the_newest_rows_test_those_before_validate_and_the_rest_train(tmp_path: Path) -> None:
    days = [*range(100, 70, -1)]  # not in the order of time, and over several batches
    report, sets = dealt(tmp_path, days)
    of_set = {name: sorted(days[int(text.split()[1])] for text in texts) for name, texts in sets.items()}
    assert of_set == {"train": [*range(71, 91)], "validation": [91, 92, 93], "test": [*range(94, 101)]}
    assert report.begins == {"validation": 90 * DAY, "test": 93 * DAY, "newest": 100 * DAY}
    assert report.removed_gap == 0


def test_rows_of_the_gap_are_in_no_set_and_counted(tmp_path: Path) -> None:
    report, _ = dealt(tmp_path, [*range(30)], gap=5 * DAY)
    assert report.rows == {"train": 15, "validation": 3, "test": 7}
    assert report.removed_gap == 5


def test_what_a_release_trained_on_is_found_among_later_test_rows_by_its_key(tmp_path: Path) -> None:
    before, _ = dealt(tmp_path / "before", [*range(30)])
    definition = SplitDefinition(key="text", validation=0.1, salt="s", normaliser=NORMALISER)
    train_keys_file(tmp_path / "before", tmp_path / "keys.parquet", definition)
    trained = pq.read_table(tmp_path / "keys.parquet").column("key").to_numpy()
    assert len(trained) == before.rows["train"] + before.rows["validation"]
    dealt(tmp_path / "after", [*range(34)])
    assert not among(np.asarray(open_rows(tmp_path / "after" / "test.arrow")["_key"][:], np.uint64), trained).any()
    dealt(tmp_path / "longer", [*range(30)], test=14 * DAY)
    moved = among(np.asarray(open_rows(tmp_path / "longer" / "test.arrow")["_key"][:], np.uint64), trained)
    assert moved.sum() == 7


def test_without_a_test_set_the_newest_rows_validate(tmp_path: Path) -> None:
    report, _ = dealt(tmp_path, [*range(30)], test=0.0)
    assert report.rows == {"train": 27, "validation": 3}


def test_rows_that_are_all_new_or_have_no_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row is old enough to train on: the oldest is of 1970-04-07 00:00:00"):
        dealt(tmp_path, [96, 99, 100])
    with pytest.raises(DataError, match=r"row 2 of data.csv: the cell of column at is null"):
        dealt(tmp_path, [1, None, 100])


def spec_of(split: str) -> Any:
    return validate(parse_yaml(MINIMAL.format(split), "p.yaml")).data.split


def test_a_spec_gives_lengths_of_time_and_a_week_where_it_gives_none() -> None:
    given = spec_of("{by: time, column: at, test: 14d, gap: 12h}")
    assert (given.test, given.validation, given.gap) == (14 * DAY, 7 * DAY, DAY / 2)
    assert spec_of("{test: 0.3}").validation == 0.10


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("{by: time}", "data.split.column: is missing: by: time needs the column"),
        ("{by: time, column: at, test: 0.15}", "data.split.test: is 0.15 seconds: by time it is a length such as 7d"),
        ("{test: 7d}", "data.split.test: is 604800: a share of the keys is below 1; lengths of time need by: time"),
        ("{column: at}", "data.split.column: is of a split by time: set by: time, or remove it"),
        ("{gap: 7d}", "data.split.gap: is of a split by time"),
        ("{by: time, column: at, test: soon}", "a number and a unit such as 30s, 5m, 4h or 7d"),
        ("{by: day}", "'hash' or 'time'"),
    ],
)
def test_a_split_that_is_neither_is_refused_at_its_key(split: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(split)
    assert says in caught.value.what
