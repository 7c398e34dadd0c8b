"""What is worth a look in the outcomes: confusions, labels that changed, rows that one model gets right and the other does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contender.evaluation.evaluate import read_columns
from contender.evaluation.outcomes import Array, Outcomes, from_table, shared_codes
from contender.reporting.data import Examples, ReportInput
from contender.text import redact, shorten

SHOWN = 10  # entries of a list
PER_PAIR = 3  # examples of one confusion: ten of the same kind teach no more than three
FULL_LENGTH = 2_000  # characters of a row under examples: full


@dataclass(frozen=True)
class Confusion:
    """Rows of one label that were taken for another."""

    label: str
    taken_for: str
    challenger: int
    champion: int | None


@dataclass(frozen=True)
class LabelChange:
    """One label's recall under both models."""

    label: str
    rows: int
    challenger: float
    champion: float


@dataclass(frozen=True)
class Example:
    """One held-out row; `text` is None where the report shows none."""

    row: int
    text: str | None
    label: str
    challenger: str
    confidence: float
    champion: str | None


@dataclass(frozen=True)
class Findings:
    confusions: list[Confusion]
    changes: list[LabelChange]
    wrong: list[Example]
    fixed: list[Example]
    broken: list[Example]
    fixed_count: int
    broken_count: int
    wrong_count: int
    rows: int


def find(data: ReportInput) -> Findings:
    ours, theirs = from_table(data.outcomes), None
    if data.champion_outcomes is not None:
        ours, theirs = shared_codes(ours, from_table(data.champion_outcomes))
    nobody = np.zeros(ours.rows, dtype=bool)
    fixed = ours.right & ~theirs.right if theirs else nobody
    broken = ~ours.right & theirs.right if theirs else nobody
    return Findings(
        confusions=_confusions(ours, theirs),
        changes=_label_changes(ours, theirs) if theirs else [],
        wrong=_examples(data, ours, theirs, ~ours.right & ~broken),
        fixed=_examples(data, ours, theirs, fixed),
        broken=_examples(data, ours, theirs, broken),
        fixed_count=int(fixed.sum()),
        broken_count=int(broken.sum()),
        wrong_count=int((~ours.right & ~broken).sum()),
        rows=ours.rows,
    )


def _confusions(ours: Outcomes, theirs: Outcomes | None) -> list[Confusion]:
    pairs, counts = _wrong_pairs(ours)
    other = dict(zip(*_wrong_pairs(theirs), strict=True)) if theirs else {}
    size = len(ours.names)
    return [
        Confusion(
            label=ours.names[pairs[place] // size],
            taken_for=ours.names[pairs[place] % size],
            challenger=int(counts[place]),
            champion=int(other.get(pairs[place], 0)) if theirs else None,
        )
        for place in np.argsort(-counts, kind="stable")[:SHOWN]
    ]


def _wrong_pairs(outcomes: Outcomes) -> tuple[Array, Array]:
    wrong = ~outcomes.right
    pairs = outcomes.labels[wrong].astype(np.int64) * len(outcomes.names) + outcomes.predictions[wrong]
    return np.unique(pairs, return_counts=True)


def _label_changes(ours: Outcomes, theirs: Outcomes) -> list[LabelChange]:
    """Labels whose count of right rows changed most."""
    size = len(ours.names)
    support = np.bincount(ours.labels, minlength=size)
    hits = [np.bincount(model.labels[model.right], minlength=size) for model in (ours, theirs)]
    change = hits[0] - hits[1]
    places = [place for place in np.argsort(-np.abs(change), kind="stable")[:SHOWN] if change[place]]
    found = [
        LabelChange(
            ours.names[place], int(support[place]), hits[0][place] / support[place], hits[1][place] / support[place]
        )
        for place in places
    ]
    return sorted(found, key=lambda label: label.champion - label.challenger)


def _examples(data: ReportInput, ours: Outcomes, theirs: Outcomes | None, chosen: Array) -> list[Example]:
    rows = list(_most_confident(ours, chosen))
    texts = _texts(data, rows)
    return [
        Example(
            row=row,
            text=text,
            label=ours.names[ours.labels[row]],
            challenger=ours.names[ours.predictions[row]],
            confidence=float(ours.confidence[row]) if ours.confidence is not None else 0.0,
            champion=theirs.names[theirs.predictions[row]] if theirs else None,
        )
        for row, text in zip(rows, texts, strict=True)
    ]


def _most_confident(ours: Outcomes, chosen: Array) -> Iterator[int]:
    rows = np.flatnonzero(chosen)
    confidence = ours.confidence if ours.confidence is not None else np.zeros(ours.rows)
    seen: dict[tuple[int, int], int] = {}
    found = 0
    for row in rows[np.argsort(-confidence[rows], kind="stable")]:
        pair = (int(ours.labels[row]), int(ours.predictions[row]))
        seen[pair] = seen.get(pair, 0) + 1
        if seen[pair] <= PER_PAIR:
            yield int(row)
            found += 1
        if found == SHOWN:
            return


def _texts(data: ReportInput, rows: list[int]) -> list[str | None]:
    if data.examples == "none" or not rows:
        return [None] * len(rows)
    column = read_columns(data.rows, ["text"]).column("text")
    return [_shown(str(column[row].as_py()), data.examples) for row in rows]


def _shown(text: str, examples: Examples) -> str:
    return redact(text) if examples == "redacted" else shorten(text, FULL_LENGTH)
