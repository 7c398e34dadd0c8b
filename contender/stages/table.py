"""What the stages that train and release must know of a table: which of its columns are read, and which label is the rare one."""

from __future__ import annotations

from typing import Any

from contender.errors import DataError
from contender.plan import features
from contender.records import SplitReport
from contender.spec import Pipeline
from contender.text import listed
from contender.workspace import Staged


def features_of(pipeline: Pipeline, split: Staged[SplitReport]) -> tuple[str, ...]:
    """The columns of a table that a split's files have to be read; none of another task."""
    if pipeline.spec.facts.example is not None:
        return ()
    from contender.data.rowfile import open_rows

    return features(pipeline, open_rows(split.folder / "train.arrow").column_names)


def table_of(pipeline: Pipeline, split: Staged[SplitReport]) -> dict[str, Any]:
    """What a job is told of a table. Rankings are measured by the label that the spec names, or the rarest; DataError where none is so."""
    if pipeline.spec.facts.example is not None:
        return {}
    counts = split.record.label_counts["train"]
    positive = pipeline.spec.evaluate.positive
    if positive is not None and positive not in counts:
        raise DataError(
            f"no training row has the label {positive!r} of evaluate.positive",
            f"Name one of the labels that there are: {listed(sorted(counts))}.",
        )
    return {
        "features": features_of(pipeline, split),
        "categorical": pipeline.spec.data.features.categorical,
        "positive": positive or min(counts, key=lambda label: (counts[label], label)),
    }
