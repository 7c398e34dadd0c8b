"""What a person sees on the terminal: lines, tables, transfers. Everything goes to stderr; stdout is for documents."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from contender.errors import ContenderError
from contender.text import terminal_safe

# Mark and style per outcome; the mark reads without colour.
MARKS = {
    "promoted": ("✓", "bold green"),
    "up_to_date": ("=", "bold cyan"),
    "kept": ("–", "bold yellow"),
    "inconclusive": ("?", "bold yellow"),
    "superseded": ("?", "bold yellow"),
    "skipped": ("–", "bold cyan"),
    "done": ("✓", "bold green"),
    "rejected_data": ("✗", "bold red"),
}
RELEASE = re.compile(r"r-[0-9a-f]{16}")
NARROWEST, WIDEST = 12, 60  # columns of a cell that may be broken; those that a line without a terminal pads a cell to
QUIET_SECONDS = 10  # between progress lines where no terminal can redraw one


class Terminal(Console):
    """stderr; whoever reads it may go away, as `| head` does, and the run goes on unseen."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def console(*, quiet: bool = False) -> Console:
    """No colour codes where stderr is not a terminal, unless FORCE_COLOR is set; lines are never broken for a log file."""
    if sys.stderr.isatty():
        return Terminal(stderr=True, highlight=False, quiet=quiet)
    # FORCE_COLOR and the like may ask for colours here, but never for a cursor that moves.
    return Terminal(stderr=True, highlight=False, width=1000, soft_wrap=True, force_interactive=False, quiet=quiet)


@contextmanager
def busy(out: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Says on a terminal that something goes on while the block lasts; gives what takes the part of it that does."""
    if not out.is_interactive:
        yield lambda part: None
        return
    with out.status(Text(terminal_safe(what))) as status:
        yield lambda part: status.update(Text(terminal_safe(f"{what}: {part}")))


@contextmanager
def transferring(out: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a transfer of `total` bytes while the block lasts; gives what takes the bytes as they come, from any thread."""
    if not out.is_interactive:
        yield TransferLog(out, what, total)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
    )
    with bar:
        task = bar.add_task(terminal_safe(what), total=total)
        yield lambda count: bar.advance(task, count)


class TransferLog:
    """A line now and then, where no terminal can redraw one; none for a transfer that is soon over."""

    def __init__(self, out: Console, what: str, total: int) -> None:
        self.out, self.what, self.total = out, what, total
        self.done = 0
        self.started = self.last_line = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.last_line > QUIET_SECONDS:
                self.last_line = now
                speed = max(self.done, 1) / max(now - self.started, 1e-9)
                left = max(0, self.total - self.done) / speed
                say(
                    self.out,
                    f"  {self.what}: {self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB, {speed / 1e6:,.1f} MB/s, {left:,.0f} s left",
                )


@dataclass(frozen=True)
class Column:
    """A column of a table. `whole`: its cells are never broken, else it is at least so wide. `spare`: left out where there is no room."""

    title: str
    right: bool = False
    whole: bool = True
    spare: bool = False
    least: int = NARROWEST


Cell = str | Text


def show_table(out: Console, columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]]) -> None:
    """A table that fits the terminal; where there is none, a row is a line, however long.

    A column that is given by its title alone may be broken into lines, but for the ids of releases in it.
    """
    given = [column if isinstance(column, Column) else Column(column, whole=False) for column in columns]
    cells = [[safe(cell) for cell in row] for row in rows]
    if out.soft_wrap:
        for line in aligned(given, cells):
            out.print(line, soft_wrap=True)
        return
    keep = fitting(given, cells, out.width)
    drawn = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 1))
    for at in keep:
        title, right = given[at].title, given[at].right
        whole = given[at].whole or any(RELEASE.fullmatch(row[at].plain) for row in cells)
        drawn.add_column(title, justify="right" if right else "left", overflow="fold", no_wrap=whole)
    for row in cells:
        drawn.add_row(*(row[at] for at in keep))
    out.print(drawn)


def show_told_rows(
    out: Console, columns: Sequence[Column], rows: Sequence[tuple[Sequence[Cell], str]], at: int, *, whole: bool
) -> None:
    """A table whose rows each have a sentence: below the row from its column `at` on, in full where `whole` is set.

    Where there is no terminal the sentence ends the row, always in full. Columns are never broken: name spare ones.
    """
    cells = [[safe(cell) for cell in row] for row, _ in rows]
    if out.soft_wrap:
        ends = [[*row, Text(terminal_safe(sentence))] for row, (_, sentence) in zip(cells, rows, strict=True)]
        for line in aligned([*columns, Column("why")], ends):
            out.print(line, soft_wrap=True)
        return
    keep = fitting(columns, cells, out.width)
    title, *lines = aligned([columns[one] for one in keep], [[row[one] for one in keep] for row in cells])
    out.print(title, no_wrap=True, overflow="crop")
    before = [one for one in keep if one < at]
    indent = 1 + sum(
        max(_width(cell) for cell in (Text(columns[one].title), *(row[one] for row in cells))) + 2 for one in before
    )
    for line, (_, sentence) in zip(lines, rows, strict=True):
        out.print(line, no_wrap=True, overflow="crop")
        if sentence:
            below = Text(
                terminal_safe(sentence), style="dim", no_wrap=not whole, overflow="fold" if whole else "ellipsis"
            )
            out.print(Padding(below, (0, 0, 0, min(indent, out.width // 4))))


def safe(cell: Cell) -> Text:
    """Whatever a cell holds, as text that cannot act on the terminal, nor start a line of its own."""
    return Text(terminal_safe(cell)) if isinstance(cell, str) else cell


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The columns that there is room for, by place: spare ones go first, the last one before the others."""
    keep = list(range(len(columns)))
    wide = [
        max(_width(cell) for cell in (Text(column.title), *(row[at] for row in rows))) if column.whole else column.least
        for at, column in enumerate(columns)
    ]
    for at in reversed(keep.copy()):
        if sum(wide[one] + 2 for one in keep) > width and columns[at].spare:
            keep.remove(at)
    return keep


def _width(cell: Text) -> int:
    return max((cell_len(line) for line in cell.plain.splitlines()), default=0)


def aligned(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Iterator[Text]:
    """Lines whose cells stand below each other as far as that makes sense; the last one is not padded."""
    titles = [Text(column.title.replace("\n", " "), style="dim") for column in columns]
    table = [titles, *rows]
    wide = [min(max(row[at].cell_len for row in table), WIDEST) for at in range(len(columns))]
    for row in table:
        line = Text()
        for cell, column, size in zip(row, columns, wide, strict=True):
            room = Text(" " * max(0, size - cell.cell_len))
            line.append_text(Text(" ")).append_text(room + cell if column.right else cell + room).append(" ")
        line.rstrip()
        yield line


def say(out: Console, text: str, style: str = "") -> None:
    """One line, whatever names of files and values of data are in it."""
    out.print(Text(terminal_safe(text), style=style), soft_wrap=True)


def show_error(out: Console, error: ContenderError) -> None:
    out.print(Text.assemble(("error: ", "bold red"), terminal_safe(error.what, keep_newlines=True)), soft_wrap=True)
    if error.fix:
        out.print(Text.assemble(("       ", ""), terminal_safe(error.fix, keep_newlines=True)), soft_wrap=True)
