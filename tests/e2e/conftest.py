"""The command line as a user has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import PIPELINE, Desk, Ran, once, tickets

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
def two_releases(desk: Desk, prefect_server: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A first champion of the desk, and a better one; trained once, copied for each test."""

    def fill(desk: Desk) -> None:
        desk.drop("1.csv", tickets(240, seed=1, wrong=0.67))  # labels at random: whatever is learnt later is better
        first = desk.retrain()
        desk.drop("2.csv", tickets(900, seed=2))
        second = desk.retrain()
        assert (first.document["outcome"], second.document["outcome"]) == ("promoted", "promoted"), second.shown

    once(desk, tmp_path_factory.getbasetemp() / "two-releases", fill)
    entries = (json.loads(path.read_text()) for path in sorted((desk.registry / "desk/aliases/production").iterdir()))
    a, b = (entry["release"] for entry in entries)
    return a, b
