"""A workspace that cannot be written is wrong usage, one that is full is a full disk, and neither is an exception of Python's."""

from __future__ import annotations

from pathlib import Path

import pytest
from limits import files_of_at_most

from contender.errors import DiskFull, UsageError
from contender.records import Record
from contender.workspace import Workspace, translated_os_errors


class Said(Record):
    text: str


def written(folder: Path) -> Said:
    (folder / "data").write_bytes(b"x" * 100)
    return Said(text="done")


@pytest.mark.parametrize(
    "place", ["/proc/nope", "/proc/nope/deeper", "file", "file/below", "/dev/null/x", "a\0b", "x" * 300]
)
def test_a_place_where_no_workspace_can_be_is_wrong_usage(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    workspace = Workspace(tmp_path / place)
    for attempt in (lambda: workspace.stage("snapshot", "0" * 32, Said, written), lambda: workspace.job_folder("1")):
        with pytest.raises(UsageError, match="cannot write to") as caught:
            attempt()
        assert "workspace" in caught.value.fix


def test_no_space_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="no space left"), files_of_at_most(10):
        Workspace(tmp_path).stage("snapshot", "0" * 32, Said, written)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_missing_file_that_is_not_about_the_workspace_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), translated_os_errors(tmp_path):
        (tmp_path / "nothing").read_bytes()
    with pytest.raises(ValueError, match="no number"), translated_os_errors(tmp_path):
        raise ValueError("no number")
