"""The one cache: what is whole is found, what is not is computed again."""

from __future__ import annotations

import errno
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contender import errors
from contender.errors import ContenderError, DiskFull, Interrupted, UsageError
from contender.records import Record, digest
from contender.workspace import MANIFEST, Staged, Workspace


class Count(Record):
    value: int


class Computer:
    """Counts how often it is asked; writes one file."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> Count:
        self.calls += 1
        (folder / "deep").mkdir()
        (folder / "deep" / "data.bin").write_bytes(b"x" * 1000)
        return Count(value=7)


def run(workspace: Workspace, compute: Computer) -> Staged[Count]:
    return workspace.stage("train", "k1", Count, compute)


def test_a_finished_stage_is_found_and_not_computed_again(tmp_path: Path) -> None:
    workspace, compute = Workspace(tmp_path), Computer()
    first, second = run(workspace, compute), run(workspace, compute)
    assert (first.cached, second.cached, compute.calls) == (False, True, 1)
    assert second.record == first.record
    assert (second.folder / "deep" / "data.bin").stat().st_size == 1000


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "deep" / "data.bin").write_bytes(b"y" * 1000),
        lambda folder: (folder / "deep" / "data.bin").write_bytes(b"x" * 999),
        lambda folder: (folder / "deep" / "data.bin").unlink(),
        lambda folder: (folder / "more.bin").write_bytes(b""),
        lambda folder: (folder / MANIFEST).write_bytes(b"{"),
        lambda folder: (folder / MANIFEST).write_bytes(b""),
        lambda folder: (folder / MANIFEST).unlink(),
    ],
)
def test_a_damaged_stage_is_computed_again(tmp_path: Path, damage) -> None:
    workspace, compute = Workspace(tmp_path), Computer()
    damage(run(workspace, compute).folder)
    again = run(workspace, compute)
    assert (again.cached, compute.calls) == (False, 2)
    assert run(workspace, compute).cached


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Count:
        (folder / "half").write_bytes(b"x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Workspace(tmp_path).stage("train", "k1", Count, fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_runs_at_the_same_time_compute_a_stage_once_and_never_see_half_of_one(tmp_path: Path) -> None:
    """Whoever finds a stage may read it while others come and go."""
    computed: list[str] = []
    waited: list[int] = []

    def work(number: int) -> None:
        for turn in range(15):
            key = f"k{turn}"

            def compute(folder: Path, key: str = key) -> Count:
                computed.append(key)
                (folder / "data.bin").write_bytes(key.encode() * 5000)
                return Count(value=number)

            staged = Workspace(tmp_path).stage("train", key, Count, compute, on_wait=lambda: waited.append(number))
            assert (staged.folder / "data.bin").read_bytes() == key.encode() * 5000

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(computed) == sorted(f"k{turn}" for turn in range(15))
    assert waited
    assert {path.name for path in (tmp_path / "stages" / "train").iterdir()} == set(computed)


def test_what_a_killed_attempt_left_is_gone_from_the_next_ones_output(tmp_path: Path) -> None:
    left = tmp_path / "stages" / "train" / ".k1.partial"
    (left / "deep").mkdir(parents=True)
    (left / "half.bin").write_bytes(b"x")
    staged = run(Workspace(tmp_path), Computer())
    assert sorted(path.name for path in staged.folder.iterdir()) == ["deep", MANIFEST]
    assert not left.exists()


def test_scratch_is_empty_at_first_and_gone_in_the_end(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    with workspace.scratch("publish") as killed:
        pass
    killed.mkdir()
    (killed / "left").write_text("by a killed run")
    with workspace.scratch("publish") as folder:
        assert (folder, list(folder.iterdir())) == (killed, [])
        (folder / "report.html").write_text("x")
    assert list(workspace.root.iterdir()) == []


def test_a_stage_that_wrote_nothing_is_none(tmp_path: Path) -> None:
    """A train stage without a model would be found for ever."""
    workspace = Workspace(tmp_path)
    workspace.stage("train", "k1", Count, lambda folder: Count(value=1))
    assert workspace.find("train", "k1", Count) is None


def test_a_full_disk_says_where_and_that_nothing_is_lost(tmp_path: Path) -> None:
    def fill(folder: Path) -> Count:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match=str(tmp_path)) as caught:
        Workspace(tmp_path).stage("train", "k1", Count, fill)
    assert caught.value.exit_code == 1


def test_a_workspace_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        run(Workspace(tmp_path / "file"), Computer())


def test_every_error_survives_pickling() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ContenderError)]
    assert len(kinds) > 12
    for kind in kinds:
        error = kind("what", "fix")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.what, again.fix, str(again)) == (kind, "what", "fix", "what\nfix")
    resumable = pickle.loads(pickle.dumps(Interrupted("what", "fix", resumable=True)))
    assert resumable.exit_code == 75


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
