"""Lists of text in JSON, as the cells of a row file hold the words of a sentence and their tags, and the labels of a text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contender.errors import DataError
from contender.names import Labels
from contender.text import shorten

if TYPE_CHECKING:
    import pyarrow as pa


def texts_of(value: Any) -> list[str] | None:
    """The texts that a cell lists; None where it is no list of text."""
    try:
        texts = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
    return texts if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else None


def written(labels: Iterable[str]) -> str:
    """A set of labels as a JSON list, in the one way that every set is written: each once, in order."""
    from contender.data.values import without_surrogates

    return json.dumps(sorted({without_surrogates(label) for label in labels}), ensure_ascii=False)


def label_sets(cells: pa.Array) -> pa.Array:
    """Cells of lists of labels as `written`; DataError, naming the first, where one holds no list of text."""
    import pyarrow as pa

    found = []
    for cell in cells.to_pylist():
        labels = texts_of(cell)
        if labels is None:
            raise DataError(
                f"{shorten(str(cell), 80)!r} is no list of labels",
                'Give lists of text, such as ["refund", "delivery"], or [] where none fits. Golden sets pass no quality gate: correct '
                "the row there.",
            )
        found.append(written(labels))
    return pa.array(found, pa.string())


def label_counts(cells: Any, labels: Labels) -> Counter[str]:
    """Rows of each label in an array of cells of a target, the commonest first; of lists how often each label is in one.

    Cells without a label, or without a list of them, count nothing; and none does where the task has no labels.
    """
    import pyarrow.compute as pc

    counts: Counter[str] = Counter()
    if labels != "none":
        for entry in pc.value_counts(cells.drop_null()).to_pylist():
            for label in [entry["values"]] if labels == "one" else texts_of(entry["values"]) or ():
                counts[label] += entry["counts"]
    return Counter(dict(counts.most_common()))
