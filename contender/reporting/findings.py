"""What is worth a look in the outcomes: confusions, labels that changed, rows that one model gets right and the other does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contender.attribution import Attribution
from contender.data.examples import readable
from contender.evaluation.evaluate import read_columns
from contender.evaluation.outcomes import Array, Outcomes, Paired
from contender.names import PATH, TASKS, labelled
from contender.reporting.data import ReportInput
from contender.reporting.words import Reading, read, shown_text

SHOWN = 10  # entries of a list
PER_PAIR = 3  # examples of one confusion: ten of the same kind teach no more than three


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
    """One held-out row; `text` is None where the report shows none, a reading where nobody knows why a model said so.

    Answers that are written are text of rows, as what was to be answered is: shown like `text`, and None where that is. `confidence`
    is None where a model says none.
    """

    row: int
    text: str | None
    label: str | None
    challenger: str | None
    confidence: float | None
    champion: str | None
    why: Reading | None = None
    champion_why: Reading | None = None


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
    written: bool = False  # whether answers are texts


def find(data: ReportInput) -> Findings:
    both = data.paired
    has_labels = labelled(data.release.kind)
    return Findings(
        confusions=_confusions(both.ours, both.theirs) if has_labels else [],
        changes=_label_changes(both.ours, both.theirs) if both.theirs and has_labels else [],
        wrong=_examples(data, both, both.wrong),
        fixed=_examples(data, both, both.fixed),
        broken=_examples(data, both, both.broken),
        fixed_count=int(both.fixed.sum()),
        broken_count=int(both.broken.sum()),
        wrong_count=int(both.wrong.sum()),
        rows=both.ours.rows,
        written=_is_written(data),
    )


def worth_explaining(both: Paired) -> tuple[dict[int, str], dict[int, str]]:
    """Row → answer, of the rows that `find` shows: the challenger's, and the champion's where only one of them is right."""
    differ = [*_most_confident(both.ours, both.fixed), *_most_confident(both.ours, both.broken)]
    rows = sorted({*differ, *_most_confident(both.ours, both.wrong)})
    theirs = {row: _answer(both.theirs, row) for row in sorted(differ)} if both.theirs else {}
    return {row: _answer(both.ours, row) for row in rows}, theirs


def _confusions(ours: Outcomes, theirs: Outcomes | None) -> list[Confusion]:
    pairs, counts = np.unique(ours.confusions, return_counts=True)
    other = dict(zip(*np.unique(theirs.confusions, return_counts=True), strict=True)) if theirs else {}
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


def _examples(data: ReportInput, both: Paired, chosen: Array) -> list[Example]:
    ours, theirs = both.ours, both.theirs
    rows = list(_most_confident(ours, chosen))
    why, champion_why = ({one.row: one for one in of} for of in (data.explained.challenger, data.explained.champion))
    return [
        Example(
            row=row,
            text=None if text is None else shown_text(text, data.examples),
            label=_told(data, str(ours.names[ours.labels[row]])),
            challenger=_told(data, _answer(ours, row)),
            confidence=float(ours.confidence[row]) if ours.confidence is not None else None,
            champion=_told(data, _answer(theirs, row)) if theirs else None,
            why=_reading(data, text, why.get(row), _answer(ours, row)),
            champion_why=_reading(data, text, champion_why.get(row), _answer(theirs, row)) if theirs else None,
        )
        for row, text in zip(rows, _texts(data, rows), strict=True)
    ]


def _answer(model: Outcomes, row: int) -> str:
    return str(model.names[model.predictions[row]])


def _is_written(data: ReportInput) -> bool:
    return data.release.kind in TASKS and TASKS[data.release.kind].writes


def _told(data: ReportInput, answer: str) -> str | None:
    """A label as it is; of an answer that is written what may be shown of a row's text."""
    if not _is_written(data):
        return answer
    return None if data.examples == "none" else shown_text(answer, data.examples)


def _reading(data: ReportInput, text: str | None, found: Attribution | None, answer: str) -> Reading | None:
    if text is None or found is None or found.answer != answer:
        return None
    return read(text, data.examples, found)


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


def _texts(data: ReportInput, rows: list[int]) -> list[str] | list[None]:
    """Of these rows, whole; None where the report may show none."""
    if data.examples == "none" or not rows:
        return [None] * len(rows)
    facts = TASKS[data.release.kind]
    shown = PATH if facts.media else facts.example  # of a file its path: its content is no text
    if shown is None:
        return [None] * len(rows)
    column = read_columns(data.rows, [shown]).column(shown)
    return [readable(str(column[row].as_py()), shown) for row in rows]
