"""The leaderboard of base models, as the report's template reads it: what they come to, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

from contender.selecting import SCORES, WORDS, SelectionReport, leaderboard


@dataclass(frozen=True)
class Part:
    """Some columns of the leaderboard, as text: all of them are too wide for a page."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class SelectionTable:
    """`words`: the columns that hold no numbers; `asked`: whether some bases were only asked."""

    parts: list[Part]
    asked: bool
    words: tuple[str, ...] = WORDS


def selection_table(report: SelectionReport | None) -> SelectionTable | None:
    """The tables of a selection; None where there was none."""
    if report is None:
        return None
    columns, rows = leaderboard(report)
    bases = len({base.number for base in report.bases})
    sample = f", after {report.sample:,} training rows" if report.sample else ""
    scores = [place for place, name in enumerate(columns) if name in SCORES]
    costs = [place for place, name in enumerate(columns) if name not in SCORES or place in (0, 1)]
    captions = (
        f"{bases} bases on {report.rows:,} rows of validation{sample}, the best first",
        "What comparing, training and serving them takes",
    )
    return SelectionTable(
        parts=[
            Part(caption, tuple(columns[at] for at in places), [tuple(row[at] for at in places) for row in rows])
            for caption, places in zip(captions, (scores, costs), strict=True)
        ],
        asked=any(base.is_asked for base in report.bases),
    )
