"""One screen that says what runs where; lines, one for each thing that happens, where no terminal can redraw one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from contender.schedules import Schedule
from contender.spec import Pipeline
from contender.text import shorten, terminal_safe
from deployments.stack import Part
from deployments.terminal import MARKS, say, table
from deployments.watching import Ended, Watched

LAST_EVENTS = 5
EVENT_CHARACTERS = 300
PER_SECOND = 2  # redraws
FRAME_LINES = 8 + LAST_EVENTS  # of the screen, beside the pipelines
STYLES = {outcome.replace("_", ""): mark for outcome, mark in MARKS.items()} | {
    "cancelled": ("–", "bold yellow"),
    "crashed": ("!", "bold yellow"),  # it is continued
}


@dataclass(frozen=True)
class Places:
    """Where the parts of a stack are."""

    ui: str
    server: str  # words about its process
    sign_in: str  # the link; empty for a server that is not ours
    pool: str
    worker: Part
    gateway: Part | None = None


class Screen:
    """What a person sees of a stack."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._events: deque[tuple[float, str]] = deque(maxlen=LAST_EVENTS)
        self._live: Live | None = None
        self._lock = RLock()
        self.ending = ""

    def tell(self, text: str) -> None:
        """An event, from any thread."""
        with self._lock:
            self._events.append((time.time(), text))
            if self._live is None:
                say(self._out, f"{time.strftime('%H:%M:%S')} {terminal_safe(text)}")

    @contextmanager
    def shown(self, places: Places, watched: Sequence[Watched]) -> Iterator[None]:
        """Inside, `draw` redraws; before it, the places are said once, since a link on a redrawn screen cannot be copied whole."""
        if places.sign_in:
            say(self._out, f"Prefect UI, signed in: {places.sign_in}")
        if not self._out.is_terminal:
            for line in self._lines(places, watched):
                say(self._out, line)
            yield
            return
        with Live(console=self._out, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _lines(self, places: Places, watched: Sequence[Watched]) -> Iterator[str]:
        for name, text in _parts(places, 0):
            yield f"{name:<8} {text.plain}"
        for one in watched:
            yield f"{one.name}: starts by hand{''.join(f'; {line.plain}' for line in starts(one))}"

    def draw(self, places: Places, watched: Sequence[Watched], fault: str) -> None:
        if self._live is None:
            return
        with self._lock:
            self._live.update(self._frame(places, watched, fault), refresh=True)

    def _frame(self, places: Places, watched: Sequence[Watched], fault: str) -> Group:
        head = Table.grid(padding=(0, 2))
        underway = sum(len(one.seen.now) for one in watched)
        for name, text in _parts(places, underway):
            head.add_row(Text(name, style="bold"), text)
        below: list[Text] = []
        if fault:
            below.append(Text(f"! the Prefect server does not answer: {terminal_safe(fault)}", style="yellow"))
        for at, event in self._events:
            clock = time.strftime("%H:%M:%S", time.localtime(at))
            below.append(Text.assemble((f"{clock} ", "dim"), terminal_safe(shorten(event, EVENT_CHARACTERS))))
            below[-1].no_wrap, below[-1].overflow = True, "ellipsis"
        below.append(Text(self.ending or "Ctrl-C ends all of it", style="bold yellow" if self.ending else "dim"))
        drawn, left_out = self._table(watched, self._out.size.height - FRAME_LINES)
        if left_out:
            below.insert(0, Text(f"and {left_out} more pipelines, in the Prefect UI", style="dim"))
        return Group(head, Text(), drawn, Text(), *below)

    def _table(self, watched: Sequence[Watched], lines: int) -> tuple[Table, int]:
        """The pipelines that fit, those with a run under way first where not all do; and how many do not."""
        ordered = sorted(watched, key=lambda one: not one.seen.now) if len(watched) > lines // 3 else list(watched)
        drawn = table(("pipeline", "live", "starts", "last run", "now"), ())
        shown = 0
        for one in ordered:
            cells = row(one)
            height = max(cell.plain.count("\n") + 1 for cell in cells)
            if shown and lines < height:
                break
            lines -= height
            drawn.add_row(*cells)
            shown += 1
        return drawn, len(ordered) - shown


def _parts(places: Places, underway: int) -> Iterator[tuple[str, Text]]:
    yield "server", Text.assemble((places.ui, f"link {places.sign_in or places.ui}"), (f"  {places.server}", "dim"))
    busy = f"{underway} run{'' if underway == 1 else 's'} under way" if underway else "idle"
    yield "worker", Text.assemble(*_process(places.worker), (f"  pool {places.pool}, {busy}", "dim"))
    if places.gateway:
        yield "webhooks", Text.assemble((places.gateway.url, ""), "  ", *_process(places.gateway))


def _process(part: Part) -> list[tuple[str, str]]:
    if part.pid:
        again = f", started again {part.restarts} times" if part.restarts else ""
        return [(f"process {part.pid}{again}", "dim")]
    wait = max(0.0, part.due - time.monotonic())
    return [(terminal_safe(f"{part.why}; again in {wait:.0f} s"), "yellow")]


def row(one: Watched) -> tuple[Text, ...]:
    """A pipeline's cells."""
    seen = one.seen
    live = Text(seen.champion or "–", style="" if seen.champion else "dim")
    if seen.champion:
        live.append(f"\nentry {seen.entry}", style="dim")
    if seen.fault:
        live = Text(terminal_safe(shorten(seen.fault, 60)), style="yellow")
    now = Text("\n".join(f"{run.state}, {ago(run.since)}" for run in seen.now) or "–", style="" if seen.now else "dim")
    return Text(one.name, style="bold"), live, Text("\n").join(starts(one)), _last(seen.last), now


def _last(ended: Ended | None) -> Text:
    if ended is None:
        return Text("none yet", style="dim")
    mark, style = STYLES.get(ended.state.lower(), ("✗", "bold red"))
    return Text.assemble((f"{mark} {ended.state}", style), (f"\n{ago(ended.at)} ago", "dim"))


def starts(one: Watched) -> list[Text]:
    """What starts a pipeline's runs, a line each."""
    spec, lines = one.pipeline.spec, []
    if spec.schedule:
        zone = spec.schedule[0].timezone
        lines += [Text(_clock(one.seen.next, zone))] if one.seen.next else []
        lines += [Text(_words(schedule), style="dim") for schedule in spec.schedule]
    if spec.triggers.new_data:
        every = f"new data, every {span(spec.triggers.new_data.every)}"
        looked = f", looked {ago(one.seen.looked.at)} ago" if one.seen.looked else ""
        lines.append(Text(every + looked))
    if spec.triggers.webhook:
        lines.append(Text(f"{hook(one.pipeline)} ({spec.triggers.webhook.scheme})"))
    return lines or [Text("by hand", style="dim")]


def hook(pipeline: Pipeline) -> str:
    """The path of a pipeline's webhook."""
    webhook = pipeline.spec.triggers.webhook
    token = "/TOKEN" if webhook and webhook.scheme == "token" else ""
    return f"POST /hooks/{pipeline.spec.name}{token}"


def _words(schedule: Schedule) -> str:
    by_calendar = f"{schedule.cron or schedule.rrule} {schedule.timezone}"
    text = f"every {span(schedule.interval)}" if schedule.interval else by_calendar
    return f"{text}, paused" if schedule.paused else text


def _clock(at: datetime, zone: str) -> str:
    """The next start as the schedule's own time zone has it: with the day where that is another one than today."""
    local = at.astimezone(ZoneInfo(zone))
    today = datetime.now(local.tzinfo).date()
    day = "" if local.date() == today else f"{local:%a %d %b} "
    return f"next {day}{local:%H:%M %Z}"


def ago(at: datetime) -> str:
    return span(max(0.0, (datetime.now(UTC) - at).total_seconds()))


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
