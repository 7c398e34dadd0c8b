"""What `clean` may take from a workspace, and what it may never touch."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from contender.clean import leftovers, remove
from contender.errors import UsageError
from contender.records import Record
from contender.workspace import Workspace

DAY = 86400.0


class Made(Record):
    by: str = "a"


def compute(folder: Path) -> Made:
    (folder / "rows").write_text("rows" * 100)
    return Made()


def age(path: Path, days: float) -> None:
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (time.time() - days * DAY,) * 2, follow_symlinks=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with one of everything, all of it ten days old, and a registry inside."""
    root = tmp_path / ".contender"
    workspace = Workspace(root)
    for key in ("old", "new"):
        workspace.stage("split", key, Made, compute)
    for place, text in {
        "jobs/resumable/checkpoints/00000001/checkpoint.json": "{}",
        "jobs/keys-x.parquet": "keys",
        "stages/split/.broken.partial/rows": "half",
        "stages/split/damaged/rows": "no manifest",
        "reports/a.html": "<p>",
        "records/jobs/k/attempts/00000001.json": "{}",
        "registry/desk/releases/r-1/manifest.json": "{}",
        "files.json": "{}",
        "notes/mine.txt": "somebody's",
    }.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    age(root, 10)
    return root


def names(root: Path, older_than: float = 7 * DAY) -> set[str]:
    return {str(one.path.relative_to(root)) for one in leftovers(root, older_than)}


EVERYTHING = {
    "stages/split/old",
    "stages/split/new",
    "stages/split/damaged",
    "stages/split/.broken.partial",
    "jobs/resumable",
    "jobs/keys-x.parquet",
    "reports/a.html",
    "records/jobs/k/attempts/00000001.json",
}


def test_what_nothing_needs_is_named_and_nothing_that_is_not_the_workspaces(root):
    assert names(root) == EVERYTHING
    assert remove(leftovers(root, 7 * DAY)) > 0
    assert names(root) == set()
    for kept in ("registry/desk/releases/r-1/manifest.json", "files.json", "notes/mine.txt"):
        assert (root / kept).exists(), kept


def test_what_a_run_used_lately_stays_and_so_does_what_it_touches(root):
    workspace = Workspace(root)
    assert workspace.stage("split", "new", Made, compute).cached
    assert names(root) == EVERYTHING - {"stages/split/new"}
    workspace.touch([("split", "old"), ("split", "was-never-there")])
    assert names(root) == EVERYTHING - {"stages/split/new", "stages/split/old"}


def test_younger_things_stay_and_what_was_used_within_an_hour_always(root):
    assert names(root, 11 * DAY) == {name for name in EVERYTHING if name.endswith((".partial", "damaged", ".parquet"))}
    age(root, 0)
    assert names(root, 0) == set()


def test_what_came_into_use_after_it_was_named_stays(root):
    found = leftovers(root, 7 * DAY)
    workspace = Workspace(root)
    assert workspace.stage("split", "new", Made, compute).cached
    remove(found)
    assert workspace.find("split", "new", Made) is not None
    assert workspace.find("split", "old", Made) is None


def test_what_a_process_holds_stays(root):
    (root / "jobs/resumable/lock").write_text("")
    age(root, 10)
    handles = [os.open(root / name, os.O_RDONLY) for name in ("jobs/resumable/lock", "stages/split/.broken.partial")]
    for handle in handles:
        fcntl.flock(handle, fcntl.LOCK_EX)
    remove(leftovers(root, 7 * DAY))
    assert (root / "jobs/resumable/checkpoints").exists()
    assert (root / "stages/split/.broken.partial/rows").exists()
    for handle in handles:
        os.close(handle)


def test_a_link_is_removed_and_never_followed(root, tmp_path):
    precious = tmp_path / "precious"
    (precious / "old").mkdir(parents=True)
    (precious / "old" / "rows").write_text("mine")
    (root / "jobs" / "linked").symlink_to(precious)
    (root / "stages" / "elsewhere").symlink_to(precious)
    age(root, 10)
    remove(leftovers(root, 7 * DAY))
    assert (precious / "old" / "rows").read_text() == "mine"
    assert not (root / "jobs" / "linked").is_symlink()


def test_a_folder_that_is_no_workspace_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="is no workspace"):
        leftovers(tmp_path / "photos", 0)
    with pytest.raises(UsageError, match="is no workspace"):
        leftovers(tmp_path / "absent", 0)


def test_what_was_removed_is_computed_again(root):
    remove(leftovers(root, 7 * DAY))
    assert not Workspace(root).stage("split", "old", Made, compute).cached
