"""A selection as a page: the chosen base in a sentence, and the leaderboard."""

from __future__ import annotations

from contender.selecting import SelectionReport, leaderboard
from contender.showing.markdown import heading, page, safe, table


def selection_page(report: SelectionReport) -> str:
    columns, rows = leaderboard(report)
    return page(
        heading("Which base model is best on validation?"), safe(report.sentence), table(columns, rows, most=100)
    )
