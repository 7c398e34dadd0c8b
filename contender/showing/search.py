"""A search as a page: the best trial in a sentence, the history as blocks, the leaderboard, and which keys mattered."""

from __future__ import annotations

from contender.judging.words import in_sentence
from contender.objectives import front_columns, front_rows, front_sentence
from contender.searching import TRIAL_COLUMNS, SearchReport, best_so_far, importance_rows, leaderboard
from contender.showing.markdown import Markup, heading, page, safe, section, table
from contender.text import blocks


def search_page(report: SearchReport) -> str:
    history = best_so_far(report)
    told = f"best {in_sentence(report.primary)} so far, trial by trial: "
    return page(
        heading("Which options are best on validation?"),
        safe(report.sentence),
        Markup(f"{safe(told)}{blocks(history)}") if len(history) > 1 else "",
        safe(f"Searched {report.around.text}") if report.around else "",
        table(TRIAL_COLUMNS, leaderboard(report), most=100),
        *section("The Pareto front", safe(front_sentence(report))),
        table(front_columns(report), front_rows(report)),
        *section("What moved the score", table(("key", "share"), importance_rows(report))),
    )
