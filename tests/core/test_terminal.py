"""Lines, tables and transfers, as terminals of any width show them and as files get them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from deployments import terminal
from deployments.terminal import Column, busy, console, show_table, show_told_rows, transferring


def test_a_transfer_that_takes_long_says_how_far_it_is_how_fast_and_how_long_yet(monkeypatch):
    out, clock = StringIO(), [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with transferring(Console(file=out, no_color=True, width=200), "pulling r-1", 400_000_000) as on_bytes:
        for _ in range(7):
            clock[0] += 2
            on_bytes(20_000_000)
    assert out.getvalue().splitlines() == ["  pulling r-1: 120 of 400 MB, 10.0 MB/s, 28 s left"]


def test_a_transfer_that_is_soon_over_leaves_no_line():
    out = StringIO()
    with transferring(Console(file=out, no_color=True, width=200), "pulling r-1", 100) as on_bytes:
        on_bytes(100)
    assert out.getvalue() == ""


def test_a_terminal_shows_a_bar_with_bytes_speed_and_time_left():
    out = StringIO()
    screen = Console(file=out, force_terminal=True, width=120)
    with (
        transferring(screen, "pulling [r]\x1b[2J", 400_000_000) as on_bytes,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(on_bytes, [1_000_000] * 100))
    shown = out.getvalue()
    assert "pulling [r]" in shown and "\x1b[2J" not in shown
    assert "100.0/400.0 MB" in shown and "B/s" in shown and "0:00:" in shown


RELEASE = "r-0123456789abcdef"
SENTENCE = "Accuracy on test is shown to be higher: +2.3 points, 40 rows better and 12 worse of 1,310 (p = 0.0001, needed ≤ 0.0304)."
HOSTILE = "\x1b[2J\x1b]0;title\x07 one\ntwo \u202etxt.exe 東京タワー 🗼"
STORY = (
    Column("when (UTC)", spare=True),
    Column("what"),
    Column("release"),
    Column("rows", right=True, spare=True),
    Column("gain", spare=True),
)
ROWS = [
    (("2026-11-27 13:31", Text("✓ promoted", style="bold green"), RELEASE, "1,234,567", "+0.0229"), SENTENCE),
    (("2026-11-27 13:38", Text("✗ rejected data", style="bold red"), "", "700", ""), HOSTILE),
]


def drawn(width: int, *, piped: bool = False, **more: object) -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, width=width, soft_wrap=piped, _environ={}, **more), out  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("whole", [False, True])
def test_a_table_with_sentences_fits_and_loses_no_release(width: int, whole: bool) -> None:
    screen, out = drawn(width)
    show_told_rows(screen, STORY, ROWS, at=1, whole=whole)
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert sum(RELEASE in line for line in lines) == 1 and any("rejected data" in line for line in lines)
    assert ("…" in out.getvalue()) != whole or width == 120
    if whole:
        assert SENTENCE in " ".join(out.getvalue().split())
    assert not {"\x1b", "\x07", "\u202e"} & set(out.getvalue())


def test_a_file_gets_a_row_on_a_line_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    show_told_rows(console(), STORY, [*ROWS, (ROWS[0][0], SENTENCE * 30)], at=1, whole=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4, "the titles, and the rows"
    assert lines[1].endswith(SENTENCE) and lines[3].endswith(SENTENCE * 30)
    assert all(line == line.rstrip() for line in lines) and not any("\x1b" in line for line in lines)
    assert lines[1].index(RELEASE) == lines[0].index("release")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_plain_table_breaks_words_and_never_a_release(width: int) -> None:
    screen, out = drawn(width)
    show_table(
        screen, ("release", "what", Column("MB", right=True)), [(RELEASE, SENTENCE, "1.0"), (RELEASE, HOSTILE, "20.0")]
    )
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width and sum(RELEASE in line for line in lines) == 2
    assert "20.0" in out.getvalue() and "\x1b" not in out.getvalue()


def test_what_there_is_no_room_for_is_left_out_from_the_end() -> None:
    columns = [Column("a" * 20), Column("b" * 20, spare=True), Column("c" * 20, spare=True), Column("d" * 20)]
    for width, title in ((90, "abcd"), (70, "abd"), (48, "ad")):
        screen, out = drawn(width)
        show_table(screen, columns, [["x"] * 4])
        assert [word[0] for word in out.getvalue().splitlines()[0].split()] == list(title)


def test_the_environment_decides_on_colours_and_never_makes_a_files_cursor_move(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def said() -> str:
        with transferring(console(), "pulling", 10), busy(console(), "looking"):
            console().print(Text("told", style="red"))
        return capsys.readouterr().err

    assert said() == "told\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert said() == "\x1b[31mtold\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert said() == "told\n"
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    assert said() == "told\n"


def test_a_terminal_that_cannot_redraw_gets_lines() -> None:
    out = StringIO()
    dumb = Console(file=out, force_terminal=True, _environ={"TERM": "dumb"})
    with transferring(dumb, "pulling", 10), busy(dumb, "looking") as at:
        at("there")
    assert out.getvalue() == ""
