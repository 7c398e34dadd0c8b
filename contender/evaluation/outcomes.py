"""Outcomes as numbers: what every metric and the judge compute from.

A table of outcomes has one row per held-out row: key uint64, label and prediction strings, row int64, and whatever figures the kind
of task gives for each answer as float32 or float64, such as p_label and confidence. Here labels and predictions become codes into one
list of names, once, so that a million rows cost no Python loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Outcomes:
    """Labels and predictions (rows,) as codes into `names`; the table's figures (rows,) by column, as float64."""

    names: Sequence[str]
    labels: Array
    predictions: Array
    figures: Mapping[str, Array] = field(default_factory=dict)

    @property
    def p_label(self) -> Array | None:
        """The probability given to the label."""
        return self.figures.get("p_label")

    @property
    def confidence(self) -> Array | None:
        """The probability given to the prediction."""
        return self.figures.get("confidence")

    @property
    def rows(self) -> int:
        return len(self.labels)

    @cached_property
    def right(self) -> Array:
        """(rows,) bool: the prediction is the label."""
        same: Array = self.labels == self.predictions
        return same

    @property
    def confusions(self) -> Array:
        """(wrong rows,) int64: label · names + prediction of each row that is wrong."""
        wrong = ~self.right
        pairs: Array = self.labels[wrong].astype(np.int64) * len(self.names) + self.predictions[wrong]
        return pairs

    @cached_property
    def per_class(self) -> PerClass:
        size = len(self.names)
        return PerClass(
            hits=np.bincount(self.labels[self.right], minlength=size),
            predicted=np.bincount(self.predictions, minlength=size),
            support=np.bincount(self.labels, minlength=size),
        )

    def take(self, rows: Array) -> Outcomes:
        """The outcomes of some rows: indices or a mask."""
        figures = {name: values[rows] for name, values in self.figures.items()}
        return Outcomes(self.names, self.labels[rows], self.predictions[rows], figures)


@dataclass(frozen=True)
class PerClass:
    """Counts (…, classes) of rows: predicted rightly, predicted, labelled so."""

    hits: Array
    predicted: Array
    support: Array

    @cached_property
    def present(self) -> Array:
        """Classes that occur as a label or as a prediction; averages are over these."""
        return (self.support + self.predicted) > 0

    @property
    def rows(self) -> Array:
        """(…): every row has one label."""
        return np.asarray(self.support.sum(axis=-1))

    @property
    def precision(self) -> Array:
        return share(self.hits, self.predicted)

    @property
    def recall(self) -> Array:
        return share(self.hits, self.support)

    @property
    def f1(self) -> Array:
        return share(2 * self.hits, self.predicted + self.support)

    def macro(self, of_class: Array) -> Array:
        """(…): the mean over the classes present of a share that is 0 for the others."""
        return np.asarray(of_class.sum(axis=-1) / self.present.sum(axis=-1))


def from_table(table: pa.Table) -> Outcomes:
    """Outcomes of a table; DataError where it has no rows or a label is missing, ModelError where a probability is not a number."""
    if table.num_rows == 0:
        raise DataError(
            "the held-out set has no rows to measure on", "Hold out more rows, or give a golden set with rows."
        )
    names, labels, predictions = _codes(table.column("label"), table.column("prediction"))
    return Outcomes(names, labels, predictions, _figures(table))


def from_arrays(**columns: Any) -> Outcomes:
    """Outcomes of sequences named as the table's columns; `label` and `prediction` may be left out where nothing needs them."""
    import pyarrow as pa

    rows = len(next(iter(columns.values())))
    texts = ("label", "prediction")
    figures = {name: np.asarray(values, np.float64) for name, values in columns.items() if name not in texts}
    filled = {name: columns.get(name, [""] * rows) for name in texts} | figures
    return from_table(pa.table(filled))


def shared_codes(*models: Outcomes) -> tuple[Outcomes, ...]:
    """All models' outcomes as codes into one list of names; UsageError where they call different rows positive."""
    first = models[0].figures.get("positive")
    others = (model.figures.get("positive") for model in models[1:])
    if first is not None and any(other is not None and not np.array_equal(first, other) for other in others):
        raise UsageError(
            "the two models have a different positive class, and their rankings cannot be compared",
            "Set evaluate.positive to the class of the model that is there already, or start a new pipeline under another name.",
        )
    names = list(dict.fromkeys(name for model in models for name in model.names))
    place = {name: code for code, name in enumerate(names)}

    def recoded(model: Outcomes) -> Outcomes:
        codes = np.array([place[name] for name in model.names])
        return replace(model, names=names, labels=codes[model.labels], predictions=codes[model.predictions])

    return tuple(recoded(model) for model in models)


@dataclass(frozen=True)
class Paired:
    """A model's outcomes, and another's on the same rows by the same codes, where there is one. What they differ in is (rows,) bool."""

    ours: Outcomes
    theirs: Outcomes | None

    @property
    def fixed(self) -> Array:
        return self.ours.right & ~self.theirs.right if self.theirs else self._none

    @property
    def broken(self) -> Array:
        return ~self.ours.right & self.theirs.right if self.theirs else self._none

    @property
    def wrong(self) -> Array:
        """Not the broken ones: those that the other model has wrong too, or every wrong one where there is none."""
        return ~self.ours.right & ~self.broken

    @property
    def _none(self) -> Array:
        return np.zeros(self.ours.rows, dtype=bool)


def paired(ours: pa.Table, theirs: pa.Table | None) -> Paired:
    """Of tables of the same rows; errors as of from_table."""
    if theirs is None:
        return Paired(from_table(ours), None)
    return Paired(*shared_codes(from_table(ours), from_table(theirs)))


def _codes(labels: pa.ChunkedArray, predictions: pa.ChunkedArray) -> tuple[list[str], Array, Array]:
    import pyarrow as pa

    if labels.null_count or predictions.null_count:
        raise DataError("a held-out row has no label or no prediction", "Quarantine rows without a label.")
    chunks = [*labels.cast(pa.string()).chunks, *predictions.cast(pa.string()).chunks]
    encoded = pa.chunked_array(chunks, pa.string()).dictionary_encode().unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks])
    return encoded.chunk(0).dictionary.to_pylist(), codes[: len(labels)], codes[len(labels) :]


def _figures(table: pa.Table) -> dict[str, Array]:
    import pyarrow.types as pt

    found = {
        name: np.asarray(table.column(name).to_numpy(), dtype=np.float64)
        for name in table.column_names
        if pt.is_floating(table.schema.field(name).type)
    }
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"the model gave {int((~np.isfinite(values)).sum()):,} values of {name} that are no numbers",
                "Its weights hold infinities or NaN: lower train.learning_rate or set train.precision: fp32.",
            )
    return found


def share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part), dtype=np.float64), where=whole > 0)
