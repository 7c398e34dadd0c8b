"""Tables as numbers: what the encoder learns from training rows, and what it makes of cells that those did not have."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from contender.errors import DataError, ModelError
from contender.kinds._table import BINS, MISSING, MOST_CATEGORIES, UNSEEN, TableEncoder, fit, load


def columns(**cells: list[str | None]) -> dict[str, pa.ChunkedArray]:
    return {name: pa.chunked_array([pa.array(values, pa.string())]) for name, values in cells.items()}


def test_a_column_of_numbers_becomes_places_among_quantiles() -> None:
    encoder = fit(columns(amount=[str(value) for value in range(1, 10_001)]))
    places = encoder.encode({"amount": ["1", "10000", "5000.5"]})["numbers"][:, 0]
    assert encoder.bins == [BINS]
    assert places[0] == 0
    assert places[1] == BINS
    assert places[2] == pytest.approx(BINS / 2, abs=0.01)


def test_a_column_that_is_mostly_zero_has_edges_where_it_says_something() -> None:
    rare = [str(value) for value in range(1_000, 2_000)]
    (bins,) = fit(columns(gain=["0"] * 99_000 + rare)).bins
    assert bins > BINS / 2


def test_infinities_and_unseen_numbers_land_on_the_outermost_edges_and_stay_finite() -> None:
    encoder = fit(columns(ratio=["1", "2", "inf", "-inf", "3"]))
    places = encoder.encode({"ratio": ["inf", "-inf", "1e300", "-7", "2"]})["numbers"][:, 0]
    assert places.tolist() == [2, 0, 2, 0, 1]


@pytest.mark.parametrize("nothing", [None, "", " ? ", "NA", "nan", "NULL"])
def test_a_missing_cell_is_told_from_every_value(nothing: str | None) -> None:
    encoder = fit(columns(age=["1", "2", "3", nothing], job=["a", "a", "b", "b"]))
    found = encoder.encode({"age": [nothing, "1"], "job": [nothing, "a"]})
    assert math.isnan(found["numbers"][0, 0])
    assert found["numbers"][1, 0] == 0
    assert found["categories"][:, 0].tolist() == [MISSING, 2]


def test_a_category_that_training_hardly_had_is_one_that_it_never_had() -> None:
    encoder = fit(columns(job=["clerk", "clerk", "chief", " clerk ", "cook", "cook"]))
    assert encoder.categories[0].categories == ("clerk", "cook")
    codes = encoder.encode({"job": ["chief", "pilot", "clerk", " cook"]})["categories"][:, 0]
    assert codes.tolist() == [UNSEEN, UNSEEN, 2, 3]


def test_thousands_of_categories_are_kept_up_to_a_bound_the_most_frequent_first() -> None:
    many = [f"t{number}" for number in range(MOST_CATEGORIES + 500) for _ in range(2)]
    (size,) = fit(columns(terminal=[*many, "often", "often", "often"])).sizes
    encoder = fit(columns(terminal=[*many, "often", "often", "often"]))
    assert size == MOST_CATEGORIES + 2
    assert encoder.categories[0].categories[0] == "often"


def test_numbers_that_are_names_can_be_called_categories() -> None:
    cells = columns(branch=["1", "2", "1", "2"])
    assert fit(cells).bins == [1]
    assert fit(cells, categorical=["branch"]).sizes == [4]


def test_one_cell_of_text_makes_a_column_categorical_and_a_later_one_counts_as_missing() -> None:
    assert fit(columns(code=["1", "2", "2", "x"])).numbers == ()
    found = fit(columns(code=["1", "2", "2", "3"])).encode({"code": ["x", "1_0"]})
    assert np.isnan(found["numbers"]).all()


def test_a_column_that_never_varies_is_left_out_and_named() -> None:
    encoder = fit(columns(country=["de", "de"], age=["1", "2"], none=[None, " "]))
    assert encoder.constant == ("country", "none")
    assert [column.name for column in encoder.columns] == ["age"]
    with pytest.raises(DataError, match="no column tells two training rows apart: country"):
        fit(columns(country=["de", "de"]))


def test_an_encoder_is_read_back_as_it_was_written_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    encoder = fit(columns(age=["1.5", "2", "0.1"], job=["ä", "ä", None], same=["1", "1", "1"]))
    encoder.save_pretrained(str(tmp_path))
    assert load(tmp_path) == encoder
    for text in ("{", '{"version": 9}', '{"version": 1}'):
        (tmp_path / "table_encoder.json").write_text(text)
        with pytest.raises(ModelError, match=r"table_encoder\.json"):
            load(tmp_path)


def test_a_table_of_one_kind_of_column_gives_no_tensor_of_the_other() -> None:
    assert list(fit(columns(age=["1", "2"])).encode({"age": ["1"]})) == ["numbers"]
    encoder: TableEncoder = fit(columns(job=["a", "a", "b"]))
    assert list(encoder.encode({"job": ["a"]})) == ["categories"]
