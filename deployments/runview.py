"""A run as it goes: the stage at work redrawn below those that are done, and those ahead of it; lines where nothing can be redrawn."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import RLock

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from contender.errors import ContenderError
from contender.progress import Finding, Note
from contender.run import outcome_of
from contender.text import shorten, terminal_safe
from deployments.loudness import Loudness
from deployments.terminal import MARKS, QUIET_SECONDS

FINDINGS: dict[Finding, tuple[str, str]] = {"good": ("✓", "green"), "bad": ("✗", "red"), "open": ("–", "yellow")}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
REDRAWS = 8  # a second
BAR, BAR_FROM = 24, 60  # columns of a bar, and those of a terminal that has room for one
NAME, TOOK = 9, 8  # columns of a stage's name and its time
INDENT = 2 + NAME + 1 + TOOK + 2
LAST_WARNINGS = 3
LONG = 2_000  # characters of a text that a line is made of


@dataclass
class Work:
    """The stage at work, as far as its notes tell."""

    stage: str
    since: float
    text: str = ""
    part: str = ""
    done: float | None = None
    total: float | None = None
    warnings: list[str] = field(default_factory=list)
    beside: dict[str, Note] = field(default_factory=dict)  # place → the last note of what is at work there

    def hear(self, note: Note) -> None:
        self.text, self.part, self.done, self.total = note.text, note.part, note.done, note.total
        if note.place:
            self.beside[note.place] = note


class RunView:
    """Listens to a run, and shows it. `plan`: the stages that are expected, in order; those that it turns out to leave out vanish."""

    def __init__(self, out: Console, plan: Sequence[str] = (), loudness: Loudness = Loudness.NORMAL) -> None:
        self.out = out
        self.redraws = out.is_interactive and not out.quiet and loudness < Loudness.DEBUG
        self._plan = tuple(plan)
        self._ahead = self._plan
        self._work: Work | None = None
        self._verbose = loudness >= Loudness.VERBOSE
        self._figures: dict[str, float] = {}
        self._last_line = time.monotonic()
        self._lock = RLock()  # of notes, which come from several threads; a redraw takes none

    @contextmanager
    def shown(self) -> Iterator[RunView]:
        """Inside, a terminal shows it. Whatever libraries print meanwhile goes above the drawing."""
        live = Live(self, console=self.out, transient=True, refresh_per_second=REDRAWS, vertical_overflow="crop")
        with live if self.redraws else nullcontext():
            try:
                yield self
            except (Exception, KeyboardInterrupt) as error:
                stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                self.ended(outcome_of(error) if isinstance(error, ContenderError) else stopped)
                raise

    def __call__(self, note: Note) -> None:
        with self._lock:
            hear = {
                "started": self._start,
                "moved": self._move,
                "warned": self._warn,
                "said": self._say,
                "finished": self._finish,
            }
            hear[note.kind](note)

    def ended(self, outcome: str) -> None:
        """What the run came to, while it is still shown: a stage that it ended in, and those that it did not reach."""
        with self._lock:
            early = MARKS.get(outcome, ("✗", ""))[0] == "✗"
            self._leave("bad" if early and outcome != "interrupted" else "open")
            ahead, self._ahead = self._ahead, ()
            if ahead and early and self.redraws:
                self._print(Text(f"· not reached: {_counted(ahead)}", style="dim"))

    # --- notes -----------------------------------------------------------------------------------------------------

    def _start(self, note: Note) -> None:
        if self._work is None or self._work.stage != note.stage:
            self._leave()
            self._work = Work(note.stage, time.monotonic())
            self._pass(note.stage)
        self._work.hear(note)

    def _move(self, note: Note) -> None:
        if self._work is None:
            self._start(note)
        assert self._work is not None
        new_part = note.part and note.part != self._work.part
        self._work.hear(note)
        if self._verbose and (new_part or (note.figures and note.figures != self._figures)):
            self._figures = note.figures
            self._print_moved(note)
        elif not self.redraws and time.monotonic() - self._last_line > QUIET_SECONDS:
            self._print_moved(note)

    def _warn(self, note: Note) -> None:
        self._last_line = time.monotonic()
        if self._work is not None and self.redraws:
            self._work.warnings.append(note.text)
        else:
            self._print(_warning(f"{note.stage:<{NAME}} {_safe(note.text)}"))

    def _say(self, note: Note) -> None:
        """A line of a stage's process, or of one of several works: for the run's log, and for whoever wants to see everything."""
        if self._work is not None and note.place:
            self._work.beside.pop(note.place, None)
        if self._verbose:
            self._print(_warning(f"{note.stage:<{NAME}} {_safe(note.text)}"))

    def _finish(self, note: Note) -> None:
        if self._work is None or self._work.stage != note.stage:
            self._leave()
            self._pass(note.stage)
        warnings = self._work.warnings if self._work else []
        self._work = None
        took = "cached" if note.cached else "" if note.seconds is None else seconds_told(note.seconds)
        self._print_done(note.stage, took, note.text, note.finding, warnings)
        if self._verbose and note.key:
            self._print(Text(f"{'':{INDENT}}key {_safe(note.key)}", style="dim"))

    def _pass(self, stage: str) -> None:
        """What is ahead once a stage began: of the plan that is left, or of a further round of it."""
        left = self._ahead if stage in self._ahead else self._plan
        if stage in left:
            self._ahead = left[left.index(stage) + 1 :]

    def _leave(self, finding: Finding | None = None) -> None:
        """The stage at work did not say that it finished: it stays where the run ends in it, or where it said why it gave up."""
        work, self._work = self._work, None
        if work is not None and (finding or work.warnings):
            took = seconds_told(time.monotonic() - work.since)
            self._print_done(work.stage, took, work.text, finding or "open", work.warnings)

    # --- lines that stay -------------------------------------------------------------------------------------------

    def _print_moved(self, note: Note) -> None:
        self._last_line = time.monotonic()
        share = f"{note.done / note.total:.0%}  " if note.done is not None and note.total else ""
        self._print(Text(f"  {note.stage:<{NAME}} {share}{_safe(note.text)}"))

    def _print_done(self, stage: str, took: str, text: str, finding: Finding, warnings: Sequence[str]) -> None:
        self._last_line = time.monotonic()
        mark, style = FINDINGS[finding]
        line = Text.assemble((f"{mark} ", style), f"{stage:<{NAME}} ", (f"{took:>{TOOK}}", "dim"), f"  {_safe(text)}")
        line.rstrip()
        self._print(line)
        shown = warnings if self._verbose else warnings[-LAST_WARNINGS:]
        if len(shown) < len(warnings):
            self._print(Text(f"{'':{NAME + 3}}{len(warnings) - len(shown):,} more before: see --verbose", style="dim"))
        for warning in shown:
            self._print(_warning(_safe(warning)))

    def _print(self, line: Text) -> None:
        """One line that fits where a terminal shows it, with all of it where a file does; `--verbose` breaks it instead."""
        if self.out.soft_wrap or not self.out.is_terminal:
            self.out.print(line, soft_wrap=True)
        elif self._verbose:
            first, *more = line[INDENT:].wrap(self.out, max(INDENT, self.out.width - INDENT)) or [Text()]
            self.out.print(line[:INDENT] + first)
            self.out.print(*(Text(" " * INDENT) + one for one in more), sep="\n", end="\n" if more else "")
        else:
            line.truncate(self.out.width, overflow="ellipsis")
            self.out.print(line)

    # --- the drawing -----------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The stage at work, its last warnings, and what is ahead, within the screen; called by the thread that redraws."""
        width, height = options.max_width - 1, console.size.height - 1
        work, ahead = self._work, self._ahead
        lines = [] if work is None else _at_work(work, width)
        if work is not None:
            lines += [_warning(_safe(text)) for text in work.warnings[-LAST_WARNINGS:]]
        lines += _pending(ahead, height - len(lines))
        for line in lines[: max(1, height)]:
            line.truncate(width, overflow="ellipsis")
            yield line


def _at_work(work: Work, width: int) -> list[Text]:
    """What it is at, below it where that does not fit beside a bar; of several works side by side a line each."""
    now = time.monotonic()
    line = Text.assemble(
        (f"{SPINNER[int(now * REDRAWS) % len(SPINNER)]} ", "cyan"),
        (f"{work.stage:<{NAME}} ", "bold"),
        (f"{clock(now - work.since):>{TOOK}}  ", "dim"),
    )
    if len(beside := list(work.beside.values())) > 1:
        indent = Text(" " * (NAME + 3))
        return [line, *(indent + _bar(note.done, note.total, width) + Text(_safe(note.text)) for note in beside)]
    bar, text = _bar(work.done, work.total, width), Text(_safe(work.text))
    if not bar or width < BAR_FROM or line.cell_len + bar.cell_len + text.cell_len <= width:
        return [line + bar + text]
    return [line + bar, Text(" " * (NAME + 3)) + text]


def _bar(done: float | None, total: float | None, width: int) -> Text:
    """How much of it is done, drawn where there is room; empty where nobody knows."""
    bar = Text()
    if done is None or not total:
        return bar
    share = min(max(done / total, 0.0), 1.0)
    if width >= BAR_FROM:
        full = round(share * BAR)
        bar.append("━" * full, style="cyan").append("─" * (BAR - full), style="dim")
    return bar.append(f"{share:>5.0%}  ")


def _pending(ahead: Sequence[str], room: int) -> list[Text]:
    """The stages ahead on a line each, or all on one where those do not fit."""
    if not ahead or room < 1:
        return []
    counts = Counter(ahead)
    if len(counts) > room:
        return [Text(f"· {_counted(ahead)}", style="dim")]
    return [Text(f"· {name}{_times(count)}", style="dim") for name, count in counts.items()]


def _counted(stages: Sequence[str]) -> str:
    return ", ".join(f"{name}{_times(count)}" for name, count in Counter(stages).items())


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""


def _warning(text: str) -> Text:
    return Text.assemble(("! ", "yellow"), text)


def _safe(text: str) -> str:
    return terminal_safe(shorten(text, LONG))


def clock(seconds: float) -> str:
    """0:07, 12:05, 3:20:00."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def seconds_told(seconds: float) -> str:
    """0.3 s; 12:05 from a minute on."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


class LogLines(logging.Handler):
    """What libraries warn of, as lines above the drawing."""

    def __init__(self, out: Console) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{record.name}: {record.getMessage()}"
        except Exception:  # noqa: BLE001 - a library's own mistake in its arguments
            text = f"{record.name}: {record.msg}"
        self._out.print(_warning(_safe(text)), soft_wrap=True)


@contextmanager
def library_warnings(out: Console) -> Iterator[None]:
    """Inside, what libraries log and warn of is shown."""
    handler, root = LogLines(out), logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
