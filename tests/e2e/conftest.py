"""The command line as a user has it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import PIPELINE, Desk, Ran, tickets

from deployments.cli import main


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], gate_here: None) -> Callable[..., Ran]:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in err, err
        return Ran(code, json.loads(out) if out.strip() else None, err)

    return run


@pytest.fixture
def desk(tmp_path: Path, tiny_base: Path, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Desk:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "desk.yaml").write_text(PIPELINE.format(base=tiny_base))
    monkeypatch.setenv("CONTENDER_REGISTRY", str(tmp_path / ".contender" / "registry"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # tiny models gain nothing from more
    return Desk(tmp_path, command)


@pytest.fixture
def two_releases(
    desk: Desk,
    prefect_server: object,
    trained_desks: dict[str, tuple[Path, tuple[str, str]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, str]:
    """A first champion of the desk, and a better one; trained once, and copied into the folder of every further test."""
    if "two" in trained_desks:
        kept, releases = trained_desks["two"]
        shutil.copytree(kept, desk.folder, dirs_exist_ok=True)
        return releases
    desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))  # labels at random: whatever is learnt later is better
    first = desk.retrain()
    desk.drop("2.csv", tickets(900, seed=2))
    second = desk.retrain()
    assert (first.document["outcome"], second.document["outcome"]) == ("promoted", "promoted"), second.shown
    releases = first.document["release"], second.document["release"]
    trained_desks["two"] = shutil.copytree(desk.folder, tmp_path_factory.mktemp("trained") / "two"), releases
    return releases


@pytest.fixture(scope="session")
def trained_desks() -> dict[str, tuple[Path, tuple[str, str]]]:
    """What tests of this session trained for others: a copy of the folder, and its releases."""
    return {}
