"""The gate in a process of its own: the same report, the same errors, and nothing left when its parent goes."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from contender.errors import StageFailed, UsageError
from contender.progress import Note, listening
from contender.quality import process
from contender.quality.process import ahead, check_apart
from contender.quality.suites import load_suite

ROWS = [{"text": f"a text {n}", "label": "ab"[n % 2]} for n in range(40)]


def arguments(suite: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "suite": suite or load_suite("text_classification.yaml", Path.cwd()),
        "columns": {"text": "text", "label": "label"},
        "suite_name": "text_classification.yaml",
        "bad_rows": "quarantine",
        "max_bad_fraction": 0.1,
    }


def of_this_process() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # a child of another test may wait to be buried
            if "contender.quality.process" in child.cmdline():
                found.append(child)
    return found


def test_it_reports_what_the_gate_reports_and_tells_of_its_rows(row_file: Any, tmp_path: Path) -> None:
    from contender.quality.gate import check

    rows = row_file([*ROWS, {"text": None, "label": "a"}])
    seen: list[int] = []
    apart = check_apart(rows, tmp_path / "apart", seen.append, **arguments())
    here = check(rows, out=tmp_path / "here", **arguments())
    assert apart == here
    assert apart.quarantined == 1
    assert seen[-1] == 41
    assert sorted(path.name for path in (tmp_path / "apart").iterdir()) == sorted(
        path.name for path in (tmp_path / "here").iterdir()
    )
    assert of_this_process() == []


def test_a_process_that_waits_is_taken_by_the_first_check_and_ended_where_none_comes(
    row_file: Any, tmp_path: Path
) -> None:
    with ahead():
        (waiting,) = of_this_process()
        check_apart(row_file(ROWS), tmp_path / "out", **arguments())
        assert not waiting.is_running()
        assert of_this_process() == []
    with ahead():
        assert len(of_this_process()) == 1
    assert of_this_process() == []


def test_what_the_gate_refuses_is_the_error_here(row_file: Any, tmp_path: Path) -> None:
    bad = {
        "name": "mine",
        "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "nowhere", "odd": 1}}],
    }
    with pytest.raises(UsageError) as failure:
        check_apart(row_file(ROWS), tmp_path / "out", **arguments(bad))
    assert failure.value.exit_code == 2


def killed(count: int) -> list[Any]:
    gates = [process._start() for _ in range(count)]
    for gate in gates:
        gate.child.process.kill()
    return gates


def test_a_process_that_dies_is_followed_by_another(
    row_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_ahead", killed(1))
    out = tmp_path / "out"
    (out / "half").mkdir(parents=True)
    told: list[Note] = []
    with listening(told.append):
        report = check_apart(row_file(ROWS), out, **arguments())
    assert report.passed
    assert "was ended by signal SIGKILL; checking again" in told[0].text
    assert not (out / "half").exists()


def test_one_that_dies_again_is_an_error_that_says_how(
    row_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_ahead", killed(2))
    with pytest.raises(StageFailed, match="was ended by signal SIGKILL"):
        check_apart(row_file(ROWS), tmp_path / "out", **arguments())


def test_it_goes_when_its_parent_is_killed_also_in_the_middle_of_its_imports(tmp_path: Path) -> None:
    code = "import time\nfrom contender.quality.process import ahead\nwith ahead():\n print(1, flush=True); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
