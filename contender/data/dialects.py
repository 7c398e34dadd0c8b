"""How a csv or tsv file seems to be written, from its first bytes: delimiter, header, encoding."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from contender.data.streams import BOMS

DELIMITERS = ",\t;|"
SAMPLE_ROWS = 200


def guess_encoding(sample: bytes, whole: bool) -> str:
    """utf-8 where the sample is that, or has a byte order mark; else cp1252, in which western programs write most often."""
    if any(sample.startswith(mark) for mark, _ in BOMS):
        return "utf-8"
    # A sample may end inside of a character: its last three bytes prove nothing.
    try:
        (sample if whole else sample[: sample.rfind(b"\n") + 1]).decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def guess_delimiter(text: str, default: str) -> str:
    """The delimiter that cuts most rows into the same number of cells, two or more; the default where none does better."""
    scores = {delimiter: _agreement(_rows(text, delimiter)) for delimiter in (default, *DELIMITERS)}
    best = max(scores, key=lambda delimiter: (scores[delimiter], delimiter == default))
    return best if scores[best] > scores[default] else default


def guess_header(text: str, delimiter: str) -> bool:
    """Whether the first row names columns: its cells are short, differ, are no numbers, and come again nowhere below them."""
    first, *others = _rows(text, delimiter) or [[]]
    if not first or len(set(first)) < len(first):
        return False
    below = [{row[place] for row in others if place < len(row)} for place in range(len(first))]
    return not any(_is_number(cell) or len(cell) > 60 or cell in below[place] for place, cell in enumerate(first))


def _agreement(rows: Sequence[Sequence[str]]) -> float:
    """Share of rows that have the commonest number of cells; 0 where that is one."""
    counts = Counter(map(len, rows))
    if not counts:
        return 0.0
    cells, agreeing = counts.most_common(1)[0]
    return agreeing / len(rows) if cells > 1 else 0.0


def _rows(text: str, delimiter: str) -> list[list[str]]:
    plain = delimiter == "\t"
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return rows[:-1] if len(rows) > 1 and not text.endswith("\n") else rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
