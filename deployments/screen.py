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
from rich.text import Text

from contender.schedules import Schedule
from contender.spec import Pipeline
from contender.text import terminal_safe
from deployments.stack import Part
from deployments.terminal import MARKS, say
from deployments.watching import Ended, Watched

LAST_EVENTS = 5
MARGINS = 3  # empty lines of the screen
STYLES = {outcome.replace("_", ""): mark for outcome, mark in MARKS.items()} | {
    "cancelled": ("–", "bold yellow"),
    "crashed": ("!", "bold yellow"),  # it is continued
}


@dataclass
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

    def ends(self, text: str) -> None:
        """What it waits for from now on."""
        self.ending = text
        if self._live is None:
            self.tell(text)

    @contextmanager
    def shown(self, places: Places, watched: Sequence[Watched]) -> Iterator[None]:
        """Inside, `draw` redraws; before it, the places are said once, since a link on a redrawn screen cannot be copied whole."""
        if places.sign_in:
            say(self._out, f"Prefect UI, signed in: {places.sign_in}")
        if not self._out.is_interactive:
            for line in self._lines(places, watched):
                say(self._out, line)
            yield
            return
        with Live(console=self._out, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            self._live = live
            self._events.clear()  # they stand above it
            try:
                yield
            finally:
                self._live = None

    def _lines(self, places: Places, watched: Sequence[Watched]) -> Iterator[str]:
        for name, text in _parts(places, 0):
            yield f"{name:<8} {text.plain}"
        for one in watched:
            yield f"{one.name}: {', '.join(f'{name} {text}' for name, text in starts(one))}"

    def draw(self, places: Places, watched: Sequence[Watched], fault: str) -> None:
        if self._live is None:
            return
        with self._lock:
            self._live.update(self.frame(places, watched, fault), refresh=True)

    def frame(self, places: Places, watched: Sequence[Watched], fault: str) -> Group:
        height = self._out.size.height
        underway = sum(len(one.seen.now) for one in watched)
        above = [Text.assemble((f"{name:<10}", "bold"), text) for name, text in _parts(places, underway)]
        below: list[Text] = []
        if fault:
            below.append(Text(f"! the Prefect server does not answer: {terminal_safe(fault)}", style="yellow"))
        for at, event in list(self._events)[-max(1, height // 5) :]:
            clock = time.strftime("%H:%M:%S", time.localtime(at))
            below.append(Text.assemble((f"{clock} ", "dim"), terminal_safe(event)))
        below.append(Text(self.ending or "Ctrl-C ends all of it", style="bold yellow" if self.ending else "dim"))
        room = height - len(above) - len(below) - MARGINS
        lines = [*above, Text(), *pipeline_lines(watched, room), Text(), *below]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)


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


def pipeline_lines(watched: Sequence[Watched], room: int) -> list[Text]:
    """All that is known of each pipeline, or a line for each where that does not fit; those with a run under way first then."""
    lines = [line for one in watched for line in block(one)]
    if len(lines) > room:
        ordered = sorted(watched, key=lambda one: not one.seen.now)
        width = max(len(one.name) for one in watched)
        lines = [_headline(one, width, brief=True) for one in ordered[: max(room - 1, 1)]]
        if left := len(ordered) - len(lines):
            lines.append(Text(f"and {left} more, in the Prefect UI", style="dim"))
    return lines


def block(one: Watched) -> list[Text]:
    """A pipeline on some lines: what it does now, what is live, what starts it."""
    seen = one.seen
    live = (f"{seen.champion} (entry {seen.entry})", "") if seen.champion else ("nothing yet", "dim")
    if seen.fault:
        live = (terminal_safe(seen.fault), "yellow")
    lines = [Text.assemble(("live      ", "dim"), live)]
    lines += [Text.assemble((f"{name:<10}", "dim"), text) for name, text in starts(one)]
    return [_headline(one, len(one.name)), *(Text("  ") + line for line in lines)]


def _headline(one: Watched, width: int, *, brief: bool = False) -> Text:
    line = Text.assemble((f"{one.name:<{width}}", "bold"), "  ")
    for run in one.seen.now[:3]:
        line.append(f"● {run.state}, {ago(run.since)}   ", style="bold cyan")
    ended = one.seen.last
    if ended is None:
        line.append("" if one.seen.now else "no run yet", style="dim")
    else:
        mark, style = STYLES.get(ended.state.lower(), ("✗", "bold red"))
        line.append_text(Text.assemble((f"{mark} {ended.state}", style), (f", {ago(ended.at)} ago", "dim")))
    if brief and one.seen.next:
        line.append(f"   next {_clock(one.seen.next, one.pipeline.spec.schedule[0].timezone)}", style="dim")
    return line


def starts(one: Watched) -> list[tuple[str, str]]:
    """What starts a pipeline's runs: a word, and how."""
    spec = one.pipeline.spec
    found = [("schedule", _words(schedule)) for schedule in spec.schedule]
    if one.seen.next:
        found.insert(0, ("next", _clock(one.seen.next, spec.schedule[0].timezone)))
    if spec.triggers.new_data:
        found.append(("new data", f"every {span(spec.triggers.new_data.every)}{_looked(one.seen.looked)}"))
    if spec.triggers.webhook:
        found.append(("webhook", f"{hook(one.pipeline)} ({spec.triggers.webhook.scheme})"))
    return found or [("starts", "by hand, in the UI or by: contender run")]


def _looked(look: Ended | None) -> str:
    if look is None:
        return ""
    return f", looked {ago(look.at)} ago{f': {look.state}' if look.state in ('Failed', 'Crashed') else ''}"


def hook(pipeline: Pipeline) -> str:
    """The path of a pipeline's webhook."""
    webhook = pipeline.spec.triggers.webhook
    token = "/TOKEN" if webhook and webhook.scheme == "token" else ""
    return f"POST /hooks/{pipeline.spec.name}{token}"


def _words(schedule: Schedule) -> str:
    rule = next((line for line in (schedule.rrule or "").splitlines() if line.startswith("RRULE:")), "")
    by_calendar = f"{schedule.cron or rule.removeprefix('RRULE:')} {schedule.timezone}"
    text = f"every {span(schedule.interval)}" if schedule.interval else by_calendar
    return f"{text}, paused" if schedule.paused else text


def _clock(at: datetime, zone: str) -> str:
    """The next start as the schedule's own time zone has it: with the day where that is another one than today."""
    local = at.astimezone(ZoneInfo(zone))
    today = datetime.now(local.tzinfo).date()
    day = "" if local.date() == today else f"{local:%a %d %b} "
    return f"{day}{local:%H:%M %Z}"


def ago(at: datetime) -> str:
    return span(max(0.0, (datetime.now(UTC) - at).total_seconds()))


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
