"""What a person sees on the terminal: stages as they go, results, tables. Everything goes to stderr; stdout is for documents."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from contender.errors import ContenderError
from contender.monitoring import COLUMNS, Observation
from contender.progress import Note
from contender.records import Verdict
from contender.run import RunResult
from contender.stages.noise import NoiseResult
from contender.text import blocks, terminal_safe

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
OBSERVATIONS = 20  # of the monitoring series that are shown
QUIET_SECONDS = 10  # between progress lines where no terminal can redraw one


class Terminal(Console):
    """stderr; whoever reads it may go away, as `| head` does, and the run goes on unseen."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def console() -> Console:
    """No colour codes where stderr is not a terminal; lines are never broken for a log file."""
    made = Terminal(stderr=True, highlight=False)
    return (
        made if made.is_terminal else Terminal(stderr=True, highlight=False, no_color=True, width=1000, soft_wrap=True)
    )


class RunView:
    """Draws the stages of a run as they go: a live line for the one at work, a still one for each that is done."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.live = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=out,
            transient=True,
        )
        self.task: TaskID | None = None
        self.last_line = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[RunView]:
        if not self.out.is_terminal:
            yield self
            return
        with self.live:
            yield self

    def __call__(self, note: Note) -> None:
        if note.kind == "said":
            return
        if note.kind == "finished":
            self._done(note)
        elif note.kind == "warned":
            self.out.print(Text.assemble(("! ", "yellow"), f"{note.stage:<9} {terminal_safe(note.text)}"))
        elif self.out.is_terminal:
            self._redraw(note)
        elif note.kind == "moved" and time.monotonic() - self.last_line > QUIET_SECONDS:
            self.last_line = time.monotonic()
            of = f"{note.done:,.0f}/{note.total:,.0f} " if note.done is not None and note.total else ""
            self.out.print(f"  {note.stage:<9} {of}{terminal_safe(note.text)}", markup=False)

    def _redraw(self, note: Note) -> None:
        if note.kind == "started" or self.task is None:
            self._clear()
            self.task = self.live.add_task("", total=None, stage=note.stage)
        self.live.update(
            self.task,
            description=terminal_safe(note.text),
            completed=note.done or 0,
            total=note.total,
            stage=note.stage,
        )

    def _done(self, note: Note) -> None:
        self._clear()
        self.last_line = time.monotonic()
        took = "cached" if note.cached else f"{note.seconds or 0:.1f} s"
        self.out.print(
            Text.assemble(("✓ ", "green"), f"{note.stage:<9} ", (f"{took:>8}", "dim"), f"  {terminal_safe(note.text)}")
        )

    def _clear(self) -> None:
        if self.task is not None:
            self.live.remove_task(self.task)
            self.task = None


@contextmanager
def transferring(out: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a transfer of `total` bytes while the block lasts; gives what takes the bytes as they come, from any thread."""
    if not out.is_terminal:
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


def show_result(out: Console, result: RunResult | NoiseResult) -> None:
    """What a run came to in one sentence, a verdict's rules as a table, and where to look next."""
    mark, style = MARKS.get(result.outcome, ("✗", "bold red"))
    word = result.outcome.replace("_", " ")
    out.print(Text.assemble((f"{mark} {word}", style), f"  {terminal_safe(result.message)}"))
    verdict = getattr(result, "verdict", None)
    if verdict and verdict.rules:
        show_rules(out, verdict)
    for name in ("quarantine", "conflicts", "data_docs", "report"):
        place = getattr(result, name, None)
        if place:
            out.print(f"  {name.replace('_', ' '):<11}{terminal_safe(place)}", soft_wrap=True, markup=False)


def show_monitoring(out: Console, series: Sequence[Observation]) -> None:
    """The champions on rows that were new to them, the newest last; the line above draws the metric, higher for more."""
    shown = series[-OBSERVATIONS:]
    if not shown:
        return
    earlier = len(series) - len(shown)
    say(out, f"the champion on new rows{f' (and {earlier:,} times before)' if earlier else ''}: {sparkline(shown)}")
    out.print(table(COLUMNS, [one.row for one in shown]))


def sparkline(series: Sequence[Observation]) -> str:
    """A block for each value of the newest one's metric, from the lowest to the highest of them."""
    primary = series[-1].primary
    return blocks([one.metrics[primary] for one in series if primary in one.metrics])


def show_rules(out: Console, verdict: Verdict) -> None:
    """Every rule that was judged, and how much of each held-out set's life is used."""
    from contender.judging.words import look_sentence

    out.print(rules_table(verdict))
    for look in verdict.looks:
        say(out, f"  {look_sentence(look)}")


def rules_table(verdict: Verdict) -> Table:
    """Every rule with its estimate, interval, threshold and p-value."""
    rows = []
    for rule in verdict.rules:
        if rule.outcome == "reported":
            continue  # too little to judge: the report has them
        interval = f"{rule.low:+.3f} … {rule.high:+.3f}" if rule.low is not None and rule.high is not None else ""
        p_value = f"{rule.p_value:.2g}" if rule.p_value is not None else ""
        rows.append(
            (
                f"{rule.rule} {rule.slice}" if rule.slice else rule.rule,
                rule.set,
                rule.outcome,
                f"{rule.estimate:.4f}",
                interval,
                f"{rule.threshold:g}",
                p_value,
                f"{rule.rows:,}",
            )
        )
    return table(("rule", "on", "outcome", "estimate", "interval", "threshold", "p", "rows"), rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    drawn = Table(box=None, pad_edge=True, header_style="dim", padding=(0, 1))
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(terminal_safe(str(cell))) for cell in row))
    return drawn


def say(out: Console, text: str, style: str = "") -> None:
    """One line, whatever names of files and values of data are in it."""
    out.print(Text(terminal_safe(text), style=style), soft_wrap=True)


def show_error(out: Console, error: ContenderError) -> None:
    out.print(Text.assemble(("error: ", "bold red"), terminal_safe(error.what, keep_newlines=True)), soft_wrap=True)
    if error.fix:
        out.print(Text.assemble(("       ", ""), terminal_safe(error.fix, keep_newlines=True)), soft_wrap=True)
