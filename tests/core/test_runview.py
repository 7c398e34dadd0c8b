"""A run as it goes: on terminals of any size, in files, and with stages that come otherwise than planned."""

from __future__ import annotations

import logging
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console
from screens import Seen

from contender.errors import Interrupted, StoreError
from contender.plan import noise_stages
from contender.progress import Note
from deployments import runview
from deployments.loudness import Loudness
from deployments.runview import RunView, clock, library_warnings

PLAN = ("snapshot", "gate", "split", "monitor", "train", "evaluate", "judge", "promote")
HOSTILE = "\x1b[2J\x1b]0;title\x07 one\ntwo \u202etxt.exe 東京タワー 🗼 " + "x" * 5_000


def in_a_file(loudness: Loudness = Loudness.NORMAL) -> tuple[RunView, StringIO]:
    out = StringIO()
    return RunView(Console(file=out, width=200, soft_wrap=True, _environ={}), PLAN, loudness), out


def on_a_terminal(
    width: int = 80, height: int = 24, plan: tuple[str, ...] = PLAN, loudness: Loudness = Loudness.NORMAL
) -> tuple[RunView, StringIO]:
    out = StringIO()
    screen = Console(
        file=out, force_terminal=True, no_color=True, width=width, height=height, _environ={"TERM": "xterm"}
    )
    return RunView(screen, plan, loudness), out


def frame(view: RunView) -> list[str]:
    """What is redrawn, as text."""
    with view.out.capture() as captured:
        view.out.print(view)
    return plain(captured.get(), view.out.width)


def stays(out: StringIO, width: int = 80) -> list[str]:
    return plain(out.getvalue(), width)


def plain(text: str, width: int) -> list[str]:
    """The lines of a screen that gets this."""
    seen = Seen(width)
    seen.feed(text.replace("\n", "\r\n"))
    return seen.text.splitlines()


def finish(view: RunView, *stages: str, **more: object) -> None:
    for stage in stages:
        view(Note(stage, "started"))
        view(Note(stage, "finished", f"{stage} is done", seconds=0.3, **more))  # type: ignore[arg-type]


def test_in_a_file_a_stage_that_ends_at_once_leaves_one_line() -> None:
    view, out = in_a_file()
    view(Note("snapshot", "started"))
    view(Note("snapshot", "moved", "reading source: 0 rows", done=0))
    view(Note("snapshot", "finished", "1 file, 330 rows", seconds=0.3))
    view(Note("gate", "moved", "checking: 330 rows", done=330, total=330))
    assert out.getvalue().splitlines() == ["✓ snapshot     0.3 s  1 file, 330 rows"]


def test_in_a_file_a_stage_that_takes_long_is_heard_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    view, out = in_a_file()
    monkeypatch.setattr(runview, "QUIET_SECONDS", -1)
    view(Note("train", "moved", "3 of 9 steps · loss 0.5", done=3, total=9))
    assert out.getvalue().splitlines() == ["  train     33%  3 of 9 steps · loss 0.5"]


def test_in_a_file_a_warning_is_told_at_once_and_whole() -> None:
    view, out = in_a_file()
    view(Note("queue", "warned", "waiting " * 40))
    view(Note("train", "started"))
    view(Note("fine-tune", "warned", "the store does not answer"))
    first, second = out.getvalue().splitlines()
    assert first.rstrip() == f"! queue     {'waiting ' * 40}".rstrip()
    assert second == "! fine-tune the store does not answer"


def test_what_a_stages_process_prints_is_for_the_log_and_for_whoever_wants_everything() -> None:
    for loudness, told in ((Loudness.NORMAL, False), (Loudness.VERBOSE, True)):
        view, out = in_a_file(loudness)
        view(Note("train", "said", "UserWarning: deprecated"))
        assert ("UserWarning: deprecated" in out.getvalue()) is told


def test_all_stages_are_there_from_the_start_and_those_done_stay_above() -> None:
    view, out = on_a_terminal()
    assert [line.split()[1] for line in frame(view)] == list(PLAN)
    finish(view, "snapshot")
    view(Note("gate", "started"))
    view(Note("gate", "moved", "checking: 30 rows", done=30, total=60))
    assert stays(out) == ["✓ snapshot     0.3 s  snapshot is done"]
    at_work, *ahead = frame(view)
    assert at_work[2:6] == "gate" and "50%  checking: 30 rows" in at_work and "━" in at_work
    assert [line.split()[1] for line in ahead] == list(PLAN[2:])


def test_what_a_run_leaves_out_vanishes() -> None:
    view, out = on_a_terminal()
    finish(view, "snapshot", "gate", "split")
    view(Note("train", "started"))
    assert [line.split()[1] for line in frame(view)] == ["train", "evaluate", "judge", "promote"]
    assert "monitor" not in "".join(stays(out))


def test_a_second_round_begins_again_where_the_first_one_was_overtaken() -> None:
    view, out = on_a_terminal()
    finish(view, *PLAN[:-1])
    view(Note("promote", "started"))
    view(Note("promote", "warned", "the alias moved meanwhile"))
    view(Note("evaluate", "started"))
    assert [line.split()[1] for line in frame(view)] == ["evaluate", "judge", "promote"]
    view(Note("evaluate", "finished", "again", seconds=1))
    finish(view, "judge", finding="open")
    view.ended("kept")
    lines = [line.split()[:2] for line in stays(out)]
    assert lines[7:] == [["–", "promote"], ["!", "the"], ["✓", "evaluate"], ["–", "judge"]]
    assert frame(view) == []


def test_trainings_with_other_seeds_are_counted_down() -> None:
    view, _ = on_a_terminal(plan=noise_stages(3))
    finish(view, "snapshot", "gate", "split")
    view(Note("train", "started"))
    assert [line.split()[1:] for line in frame(view)[1:]] == [["noise", "×3"], ["train", "×2"]]
    view(Note("train", "finished", seconds=1))
    finish(view, "noise")
    assert [line.split()[1:] for line in frame(view)] == [["train", "×2"], ["noise", "×2"]]


@pytest.mark.parametrize("height", [2, 5, 10, 24])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_drawing_fits_any_screen_whatever_is_in_it(width: int, height: int) -> None:
    view, out = on_a_terminal(width, height)
    finish(view, "snapshot")
    view(Note("train", "started"))
    for _ in range(9):
        view(Note("train", "warned", HOSTILE))
    view(Note("train", "moved", HOSTILE, done=1, total=3))
    lines = frame(view)
    assert 1 <= len(lines) < max(height, 2)
    assert max(map(cell_len, lines)) < width
    assert lines[0][2:7] == "train"
    view(Note("train", "finished", HOSTILE, seconds=4000, finding="bad"))
    assert max(map(cell_len, stays(out, width))) <= width
    assert len(stays(out, width)) == 1 + 1 + 1 + runview.LAST_WARNINGS, "the warnings before are counted"
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(lines)) and "\x1b[2J" not in out.getvalue()


def test_stages_that_have_no_room_share_a_line() -> None:
    view, _ = on_a_terminal(height=5)
    view(Note("snapshot", "started"))
    assert frame(view)[1:] == ["· gate, split, monitor, train, evaluate, judge, promote"]


@pytest.mark.parametrize(
    ("outcome", "mark", "not_reached"),
    [("failed", "✗", True), ("interrupted", "–", True), ("rejected_data", "✗", True), ("kept", "–", False)],
)
def test_the_stage_that_a_run_ends_in_says_so(outcome: str, mark: str, not_reached: bool) -> None:
    view, out = on_a_terminal()
    finish(view, *PLAN[:4])
    view(Note("train", "moved", "3 of 9 steps", done=3, total=9))
    view.ended(outcome)
    lines = stays(out)
    assert lines[4].startswith(f"{mark} train") and lines[4].endswith("3 of 9 steps")
    assert lines[5:] == (["· not reached: evaluate, judge, promote"] if not_reached else [])
    assert frame(view) == []


def test_a_stage_that_is_tried_again_is_one_stage() -> None:
    view, out = on_a_terminal()
    view(Note("snapshot", "started"))
    view(Note("take-snapshot", "warned", "did not answer; trying again"))
    view(Note("snapshot", "started"))
    assert "did not answer" in frame(view)[1]
    view(Note("snapshot", "finished", "1 file", seconds=2))
    assert [line[:10] for line in stays(out)] == ["✓ snapshot", "! did not "]


def test_verbose_tells_parts_figures_keys_and_every_warning_and_cuts_nothing() -> None:
    view, out = on_a_terminal(loudness=Loudness.VERBOSE)
    view(Note("train", "started"))
    view(Note("train", "moved", "preparing", part="preparing"))
    view(Note("train", "moved", "preparing, still", part="preparing"))
    view(Note("train", "moved", "accuracy 90.0%", part="training", figures={"accuracy": 0.9}))
    for number in range(5):
        view(Note("train", "warned", f"warning {number}"))
    view(Note("train", "finished", "word " * 40 + "end", seconds=1, key="k-1"))
    shown = "\n".join(stays(out))
    assert shown.count("preparing") == 1 and "accuracy 90.0%" in shown
    assert all(f"warning {number}" in shown for number in range(5))
    assert "key k-1" in shown and shown.count("word") == 40 and "…" not in shown
    assert max(map(cell_len, shown.splitlines())) <= 80


def test_debug_redraws_nothing_and_quiet_says_nothing() -> None:
    view, out = on_a_terminal(loudness=Loudness.DEBUG)
    with view.shown():
        finish(view, "snapshot")
    assert stays(out) == ["✓ snapshot     0.3 s  snapshot is done"] and "\x1b[?25l" not in out.getvalue()
    silent, out = on_a_terminal()
    silent.out.quiet = True
    view = RunView(silent.out, PLAN, Loudness.QUIET)
    with view.shown():
        finish(view, "snapshot")
        view.ended("failed")
    assert out.getvalue() == ""


def test_works_side_by_side_have_a_line_each_until_they_end() -> None:
    view, _ = on_a_terminal(plan=("search", "train"))
    view(Note("search", "started", "2 trials at a time"))
    for at, done in ((1, 10.0), (2, 50.0), (1, 20.0)):
        view(Note("search", "moved", f"trial {at} of 4 · step", place=f"trial {at} of 4", done=done, total=100.0))
    shown = frame(view)
    assert "search" in shown[0] and "·" not in shown[0]
    assert [line.split("  ")[-1] for line in shown[1:3]] == ["trial 1 of 4 · step", "trial 2 of 4 · step"]
    assert "20%" in shown[1] and "50%" in shown[2]
    view(Note("search", "said", "trial 1 of 4: 90.0%", place="trial 1 of 4"))
    view(Note("search", "moved", "trial 2 of 4 · step", place="trial 2 of 4", done=60.0, total=100.0))
    shown = frame(view)
    assert "60%" in shown[0] and shown[0].endswith("trial 2 of 4 · step") and shown[1].strip() == "· train"


def test_what_is_printed_meanwhile_goes_above_and_the_drawing_leaves_nothing() -> None:
    view, out = on_a_terminal()
    with view.shown():
        finish(view, "snapshot")
        print("a library talks")
        view(Note("gate", "started"))
        view.ended("interrupted")
    seen = Seen(80)
    seen.feed(out.getvalue().replace("\n", "\r\n"))
    assert seen.cursor
    assert [line[:10] for line in seen.text.splitlines() if line] == [
        "✓ snapshot",
        "a library ",
        "– gate    ",
        "· not reac",
    ]


@pytest.mark.parametrize(
    ("error", "mark"), [(StoreError("gone", ""), "✗"), (KeyboardInterrupt(), "–"), (Interrupted("stopped", ""), "–")]
)
def test_an_error_is_of_the_stage_that_was_at_work(error: BaseException, mark: str) -> None:
    view, out = on_a_terminal()
    with pytest.raises(type(error)), view.shown():
        view(Note("snapshot", "started"))
        raise error
    assert stays(out)[0].startswith(f"{mark} snapshot") and stays(out)[1].startswith("· not reached: gate, split")


def test_what_libraries_warn_of_is_a_line(recwarn: pytest.WarningsRecorder) -> None:
    view, out = in_a_file()
    with library_warnings(view.out):
        logging.getLogger("some.library").warning("old\n%s", "thing\x1b[2J")
        wrong = logging.LogRecord("some.library", logging.WARNING, "", 0, "%d", ("no number",), None)
        logging.getLogger().handlers[-1].emit(wrong)
    logging.getLogger("some.library").warning("nobody listens")
    assert out.getvalue().splitlines() == ["! some.library: old\\nthing\\x1b[2J", "! some.library: %d"]


def test_durations_are_short() -> None:
    assert [clock(seconds) for seconds in (7.9, 725, 12000)] == ["0:07", "12:05", "3:20:00"]
