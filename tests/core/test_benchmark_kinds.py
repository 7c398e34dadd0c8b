"""The table of all kinds is of pipelines that the spec takes, and leaves no kind out."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.datasets import DATASETS
from benchmarks.kinds import LINES, pipeline
from contender.loading import load_pipeline
from contender.names import TASKS

NO_DATA = {"multi-label-classification"}  # of which no public set lies beside the others


@pytest.mark.parametrize("name", LINES)
def test_each_line_is_a_pipeline_of_a_data_set_that_can_be_written(name: str, tmp_path: Path) -> None:
    line = LINES[name]
    (tmp_path / line.golden.replace("*", "jsonl")).touch()
    spec = load_pipeline(pipeline(name, line, tmp_path)).spec
    assert line.data in DATASETS
    assert set(line.shows) <= set(spec.evaluate.metrics)


def test_every_kind_has_a_line() -> None:
    assert {line.spec["task"] for line in LINES.values()} == set(TASKS) - NO_DATA
