"""What was taken for what, and where that changed most against the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contender.evaluation.outcomes import Array, Outcomes

WHOLE = 20  # labels up to which the matrix holds every one
MOST_CONFUSED = 14  # labels that it holds where there are more; the rest is summed up
MARKED = 10  # cells that changed most
SHADES = 8


@dataclass(frozen=True)
class Cell:
    """Rows of one label that were predicted as one label; `change`: how many more than under the champion, where there is one."""

    rows: int
    change: int | None
    shade: int  # from 0, none of the label's rows, to SHADES, all of them
    right: bool
    marked: bool


@dataclass(frozen=True)
class MatrixRow:
    """One label, None for the others together, with the rows that it has."""

    label: str | None
    rows: int
    cells: list[Cell]


@dataclass(frozen=True)
class Matrix:
    """Labels by predictions. `others`: labels that the last row and column sum up; of their rows `others_right` are right."""

    labels: list[str]
    others: int
    others_right: int
    rows: list[MatrixRow]
    total: int
    wrong: int

    @property
    def columns(self) -> list[str | None]:
        return [row.label for row in self.rows]


def confusion_matrix(ours: Outcomes, theirs: Outcomes | None) -> Matrix | None:
    """Both models' outcomes as codes into one list of names (see shared_codes). None where there are many labels and no confusion."""
    chosen = _chosen(ours, theirs)
    if not chosen:
        return None
    present = _present(ours, theirs)
    others = len(present) - len(chosen)
    size = len(chosen) + (others > 0)
    place = np.full(len(ours.names), size - 1)
    place[chosen] = np.arange(len(chosen))
    counts = _counts(ours, place, size)
    changes = counts - _counts(theirs, place, size) if theirs else None
    labels = [ours.names[code] for code in chosen]
    rest = ours.right & ~np.isin(ours.labels, chosen)
    return Matrix(
        labels=labels,
        others=others,
        others_right=int(rest.sum()),
        rows=_rows([*labels, *([None] if others else [])], counts, changes),
        total=ours.rows,
        wrong=int((~ours.right).sum()),
    )


def _rows(labels: Sequence[str | None], counts: Array, changes: Array | None) -> list[MatrixRow]:
    marked = _marked(changes, labels[-1] is None) if changes is not None else set()
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    shades = np.ceil(np.sqrt(shares) * SHADES).astype(int)  # roots, so that a confusion of one row in fifty is seen
    return [
        MatrixRow(
            label,
            int(totals[row]),
            [
                Cell(
                    rows=int(counts[row, column]),
                    change=None if changes is None else int(changes[row, column]),
                    shade=int(shades[row, column]),
                    right=row == column and label is not None,
                    marked=(row, column) in marked,
                )
                for column in range(len(labels))
            ],
        )
        for row, label in enumerate(labels)
    ]


def _marked(changes: Array, others: bool) -> set[tuple[int, int]]:
    """The cells that changed most; what the other labels do among themselves is no single change."""
    sizes = np.abs(changes)
    if others:
        sizes[-1, -1] = 0
    order = np.argsort(-sizes, axis=None, kind="stable")[:MARKED]
    places = zip(*np.unravel_index(order, sizes.shape), strict=True)
    return {(int(row), int(column)) for row, column in places if sizes[row, column]}


def _present(ours: Outcomes, theirs: Outcomes | None) -> Array:
    """Codes of labels that a row has, or was predicted to have by either model."""
    return np.unique(np.concatenate([ours.labels, ours.predictions, *([theirs.predictions] if theirs else [])]))


def _chosen(ours: Outcomes, theirs: Outcomes | None) -> list[int]:
    """Codes of every label where they are few, else of those in the largest confusions of either model; sorted by name."""
    present = _present(ours, theirs)
    chosen = dict.fromkeys(int(code) for code in present)
    if len(present) > WHOLE:
        chosen = {}
        for pair in _confused(ours, theirs):
            both = dict.fromkeys(divmod(int(pair), len(ours.names)))
            if len(chosen | both) > MOST_CONFUSED:
                break
            chosen |= both
    return sorted(chosen, key=lambda code: ours.names[code])


def _confused(ours: Outcomes, theirs: Outcomes | None) -> Array:
    """label · names + prediction of every confusion, the one with most rows under both models first."""
    pairs = [model.confusions for model in (ours, theirs) if model]
    found, counts = np.unique(np.concatenate(pairs), return_counts=True)
    return np.asarray(found[np.argsort(-counts, kind="stable")])


def _counts(model: Outcomes, place: Array, size: int) -> Array:
    """(size, size) rows by the places of their label and prediction."""
    cells = np.bincount(place[model.labels] * size + place[model.predictions], minlength=size * size)
    return np.asarray(cells.reshape(size, size))
