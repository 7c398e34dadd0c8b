"""The leaderboard of base models, as the report's template reads it."""

from __future__ import annotations

from dataclasses import dataclass

from contender.selecting import WORDS, SelectionReport, leaderboard


@dataclass(frozen=True)
class SelectionTable:
    """Columns and rows as text; `words`: the columns that hold no numbers; `asked`: whether some were only asked."""

    bases: int
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    asked: bool
    words: tuple[str, ...] = WORDS


def selection_table(report: SelectionReport | None) -> SelectionTable | None:
    """The table of a selection; None where there was none."""
    if report is None:
        return None
    columns, rows = leaderboard(report)
    return SelectionTable(
        bases=len({base.number for base in report.bases}),
        columns=columns,
        rows=rows,
        asked=any(base.is_asked for base in report.bases),
    )
