"""The command line as a user has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import PIPELINE, Desk, Ran

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
