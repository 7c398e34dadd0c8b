"""The demo's frame: what it may remove, what it must refuse, and that a broken promise does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from contender.errors import UsageError
from deployments import demo


def test_an_earlier_demo_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo.prepare(folder)
    (folder / "registry").mkdir()
    demo.prepare(folder)
    assert sorted(path.name for path in folder.iterdir()) == [demo.MARKER, "support-desk.yaml"]


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not made by the demo"):
        demo.prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_folders_place_is_refused_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").write_text("")
    assert demo.main(["--folder", str(tmp_path / "demo")]) == 2
    assert "--folder" in capsys.readouterr().out


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    demo.prepare(tmp_path)
    assert (tmp_path / demo.MARKER).is_file()


def test_a_broken_promise_says_what_the_run_said() -> None:
    with pytest.raises(demo.StoryBroken, match="drop 2 comes to promoted; the run said: 14 rows better") as caught:
        demo.promise(False, "drop 2 comes to promoted", {"message": "14 rows better and 9 worse"})
    assert caught.value.exit_code == 1


def test_each_reason_is_shown_once_and_only_from_the_bad_file(tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine.csv"
    quarantine.write_text(
        "_file,_row,failed,reasons,body,intent\n"
        "old.csv,1,x,null text,,a\n"
        "bad.csv,2,x,null text,,a\n"
        "bad.csv,3,x,null text,,b\n"
        "bad.csv,4,x,null text; unknown label,,c\n"
    )
    assert [row["_row"] for row in demo.one_per_reason(quarantine, "bad.csv")] == ["2", "4"]
