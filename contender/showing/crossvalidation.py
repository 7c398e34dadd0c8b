"""Cross-validation as a page: the mean and its spread in a sentence, each metric, and each fold."""

from __future__ import annotations

from contender.crossvalidation import METRIC_COLUMNS, CrossValidated, fold_columns, fold_rows, spread_rows
from contender.judging.words import in_sentence
from contender.showing.markdown import Markup, heading, listed, page, safe, section, table
from contender.text import blocks


def folds_page(found: CrossValidated) -> str:
    scores = [fold.metrics[found.primary] for fold in found.folds]
    return page(
        heading("How much does the score hang on which rows validate?"),
        safe(found.sentence),
        Markup(f"{safe(f'{in_sentence(found.primary)}, fold by fold: ')}{blocks(scores)}"),
        table(METRIC_COLUMNS, spread_rows(found)),
        *section("Each fold", table(fold_columns(found), fold_rows(found))),
        *section("Notes", listed(found.notes)),
    )
