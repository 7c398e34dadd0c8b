"""How many trainings are side by side: what the spec asks for, and what the machine has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from desk import PIPELINE
from gpus import fake_driver

from contender import room
from contender.errors import SpecError
from contender.loading import load_pipeline
from contender.models import ResolvedBase
from contender.room import Room, room_for, sharing
from contender.run import Run, open_run
from contender.training.options import Limits

MACHINE = 32 << 30


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, and no GPU."""
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(room, "memory_bytes", lambda: MACHINE)


def asked(folder: Path, parallel: object) -> Run:
    (folder / "tickets").mkdir(exist_ok=True)
    text = PIPELINE.format(base=folder) + f"resources: {json.dumps({'parallel': parallel})}\nsearch: {{}}\n"
    (folder / "desk.yaml").write_text(text)
    return open_run(load_pipeline(folder / "desk.yaml"), "me")


def base(folder: Path, gigabytes: float = 0.1) -> ResolvedBase:
    """A base of so large weights, none of which takes any room."""
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(int(gigabytes * (1 << 30)))
    return ResolvedBase(name="b", path=str(folder), digest="d")


def room_of(folder: Path, parallel: object, gigabytes: float = 0.1) -> Room:
    return room_for(asked(folder, parallel), (base(folder, gigabytes),))


@pytest.mark.parametrize("parallel", [0, -1, 65, 1.5, "two", True, None])
def test_what_is_no_number_of_trials_is_refused(tmp_path: Path, parallel: object) -> None:
    with pytest.raises(SpecError, match=r"resources\.parallel"):
        asked(tmp_path, parallel)


def test_one_at_a_time_is_the_default_and_changes_nothing(tmp_path: Path) -> None:
    run = asked(tmp_path, 1)
    assert run.pipeline.spec == load_pipeline(tmp_path / "desk.yaml", ("resources={}",)).spec
    found = room_for(run, (base(tmp_path),))
    assert (found.trials, found.at_once, found.text) == (1, 1, "")
    assert sharing(run, found) is run


@pytest.mark.parametrize(("parallel", "threads"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_the_cores_are_shared_out_and_each_has_one_at_least(tmp_path: Path, parallel: int, threads: int) -> None:
    found = room_of(tmp_path, parallel, gigabytes=1000)  # a number is a number, whatever it takes
    assert (found.trials, found.at_once, found.threads) == (parallel, parallel, threads)
    assert found.text.startswith(f"{parallel} at a time, on {threads} core")


@pytest.mark.parametrize(("gigabytes", "trials"), [(0.1, 4), (2.0, 2), (100, 1)])
def test_auto_is_two_cores_each_and_what_memory_holds(tmp_path: Path, gigabytes: float, trials: int) -> None:
    assert room_of(tmp_path, "auto", gigabytes).trials == trials


def test_auto_on_a_small_machine_is_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert room_of(tmp_path, "auto") == Room(1, 1, 1, 0)


def test_on_gpus_each_has_one_and_the_trials_asked_for_stay_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{fake_driver(tmp_path / 'bin')}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert room_of(tmp_path, "auto", gigabytes=100) == Room(2, 2, 4, 2)
    many = room_of(tmp_path, 5)
    assert (many.trials, many.at_once, many.threads) == (5, 2, 4)
    assert many.text == "2 at a time, on a GPU each: this machine has 2, and 5 are asked for"
    assert room_of(tmp_path, 2).text == "2 at a time, on a GPU each"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert (room_of(tmp_path, "auto").trials, room_of(tmp_path, 5).at_once) == (1, 1)


def test_each_training_is_told_its_part_of_the_cores_beside_its_device(tmp_path: Path) -> None:
    run = asked(tmp_path, 2)

    @contextmanager
    def device() -> Iterator[dict[str, str]]:
        yield {"CUDA_VISIBLE_DEVICES": "GPU-1"}

    with sharing(replace(run, hold_device=device), room_for(run, (base(tmp_path),))).hold_device() as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "GPU-1", "OMP_NUM_THREADS": "4"}
    assert sharing(run, room_for(run, (base(tmp_path),))).side_by_side == 2
    assert os.environ["OMP_NUM_THREADS"] == "8"


def test_the_parts_of_a_budget_are_no_more_than_what_is_left() -> None:
    limits = Limits(seconds=60.0, joules=None, ends_with_best=True)
    assert limits.shared_by(4) == Limits(seconds=15.0, joules=None, ends_with_best=True)
    assert Limits().shared_by(2) == Limits()
    assert limits.shared_by(1) == limits
