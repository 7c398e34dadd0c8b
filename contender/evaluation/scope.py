"""Rows that none of the labels fits: where one label means that, outcomes say of each row whether it has it, and whether it got it.

In scope and out of scope: Larson et al., An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction, EMNLP 2019.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from contender.errors import DataError
from contender.text import listed

if TYPE_CHECKING:
    import pyarrow as pa

IS, SAID = "out_of_scope", "said_out_of_scope"  # figures of outcomes, 1 or 0


def with_scope(outcomes: pa.Table, label: str | None) -> pa.Table:
    """Outcomes with the figures of scope by the label that means out of scope; as they are where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if label is None:
        return outcomes
    outcomes = outcomes.drop_columns([name for name in (IS, SAID) if name in outcomes.column_names])
    for name, column in ((IS, "label"), (SAID, "prediction")):
        outcomes = outcomes.append_column(name, pc.equal(outcomes.column(column), label).cast(pa.float32()))
    return outcomes


def check_scope(label: str | None, labels: Collection[str]) -> None:
    """DataError where the label that means out of scope is none of those of the training rows."""
    if label is not None and label not in labels:
        raise DataError(
            f"no training row has the label {label!r} of evaluate.out_of_scope",
            f"A model learns from such rows what fits none of the others. Name one of the labels that there are: {listed(sorted(labels))}.",
        )
