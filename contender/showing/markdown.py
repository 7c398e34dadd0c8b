"""The pieces of a page in Markdown. What is not `Markup` already is text from outside: it is shown as it is, and cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import indent

from contender.links import Link
from contender.text import markdown_safe, shorten, visible

CELL = 300  # characters of a text from outside
ROWS = 50  # of a table
PAGE_BYTES = 100_000  # of a page: a server keeps every run's
BAR = 20  # blocks of a whole bar

PLACE = re.compile(r"[\w./:;@~+=, -]{1,4096}")
NUMBER = re.compile(r"[-+−]?[\d.,]+( ?(%|MB|ms|s|points|times))?")


class Markup(str):
    """Markdown of our own, or text that was made safe."""

    __slots__ = ()


def safe(text: object, length: int = CELL) -> Markup:
    """A text as Markdown that shows it as it is, at most so long."""
    return text if isinstance(text, Markup) else Markup(markdown_safe(shorten(str(text), length)))


def bold(text: object) -> Markup:
    shown = safe(text).strip()
    return Markup(f"**{shown}**" if shown else "")


def link(title: str, url: str) -> Markup:
    """`url` is one of ours."""
    return Markup(f"[{safe(title)}](<{url}>)")


def linked(one: Link) -> Markup:
    """A link where a browser can follow it; else its place, to be copied."""
    return link(one.title, one.url) if one.url else Markup(f"{safe(one.title)}:\n\n{place(one.place)}")


def heading(text: object, level: int = 2) -> Markup:
    return Markup(f"{'#' * level} {safe(text)}")


def section(title: str, body: str) -> tuple[str, ...]:
    """A part of a page under a title; nothing where it has no body."""
    return (heading(title, 3), body) if body else ()


def place(text: str) -> Markup:
    """A path or a URL to be copied: in a block of its own, which scrolls where it is wider than the page; a strange one as text."""
    plain = PLACE.fullmatch(text) and visible(text) == text
    return Markup(f"```\n{text}\n```") if plain else safe(text)


def listed(items: Iterable[object]) -> Markup:
    """The items as a list; what stands on more than one line stays with its item."""
    return Markup("\n".join(f"- {indent(safe(item), '  ')[2:]}" for item in items))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], most: int = ROWS) -> Markup:
    """The first rows as a table, columns of numbers at the right, and how many more there are; nothing without rows."""
    if not rows:
        return Markup("")
    shown = [[safe(cell) for cell in row] for row in rows[:most]]
    rule = ["---:" if _is_of_numbers(row[place] for row in rows[:most]) else "---" for place in range(len(columns))]
    lines: list[list[str]] = [[*map(safe, columns)], rule, *map(list[str], shown)]
    more = f"\n\nand {len(rows) - most:,} more" if len(rows) > most else ""
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines) + more)


def page(*parts: str) -> str:
    """The parts as one text, the empty ones left out; cut between lines where it would be too long."""
    text = "\n\n".join(part for part in parts if part)
    if len(text.encode()) <= PAGE_BYTES:
        return text
    kept = text.encode()[:PAGE_BYTES].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n\n… the rest is left out."


def bar(share: float) -> Markup:
    """A share of the whole as a line of blocks, eighths of a block where there is less than one to show."""
    eighths = round(max(0.0, min(1.0, share)) * BAR * 8)
    whole, rest = divmod(eighths, 8)
    return Markup("█" * whole + (" ▏▎▍▌▋▊▉"[rest].strip() if rest else ""))


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent, such that little is not nothing."""
    found = part / whole if whole else 0.0
    return "<0.1%" if 0 < found < 0.001 else f"{found:.1%}"


def counted(count: int, thing: str) -> str:
    """1 file, 1,200 files."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _is_of_numbers(cells: Iterable[object]) -> bool:
    found = [str(cell).strip("*") for cell in cells if str(cell)]
    return bool(found) and all(NUMBER.fullmatch(cell) for cell in found)
