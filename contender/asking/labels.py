"""Text classification by asking: the question, with some examples or none, and which label an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contender.apibase import Message
from contender.asking.base import EXAMPLES, Row, asked
from contender.names import Task

MOST_TRAIN_ROWS = 10_000
MOST_CHARACTERS = 8_000  # of a text
NO_LABEL = "(no label)"  # the prediction where an answer names none, or several


class OneLabel:
    """One label of a closed set for each text. A few-shot question shows rows of as many labels as it may."""

    revision = 1
    among = MOST_TRAIN_ROWS
    nothing = NO_LABEL

    def __init__(self, facts: Task, labels: Sequence[str]) -> None:
        assert facts.example is not None
        self.roles = (facts.example, facts.target)
        self._text, self._label = self.roles
        self._labels = labels

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        return first_of_each(rows, [row[self._label] for row in rows])

    def question(self, row: Row, shown: Sequence[Row]) -> list[Message]:
        listed = "\n".join(f"- {label}" for label in self._labels)
        instruction = "Which of these labels does the text of the user have? Answer with that label as it stands here, and nothing else."
        examples = ((example[self._text][:MOST_CHARACTERS], example[self._label]) for example in shown)
        return asked(f"{instruction}\n{listed}", examples, row[self._text][:MOST_CHARACTERS])

    def most_tokens(self, rows: Sequence[Row]) -> None:
        return None

    def reference(self, row: Row) -> str:
        return row[self._label]

    def prediction(self, answer: str) -> str:
        return label_of(answer, self._labels)


def label_of(answer: str, labels: Sequence[str]) -> str:
    """The one label that an answer is, or holds as words of its own; NO_LABEL where it is none of them, or several."""
    meant = named_in(answer, labels)
    return meant[0] if len(meant) == 1 else NO_LABEL


def named_in(answer: str, labels: Sequence[str]) -> list[str]:
    """The one label that an answer is, else those that it holds as words of their own.

    Case, quotes and what stands around them are no matter. A label inside a longer one that the answer holds is not meant.
    """
    said = _plain(answer)
    by_name = {_plain(label): label for label in labels}
    if len(by_name) < len(labels):  # they differ in that alone
        by_name, said = {label: label for label in labels}, answer.strip()
    if said in by_name:
        return [by_name[said]]
    held = [name for name in by_name if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)]
    return [by_name[name] for name in held if not any(name != other and name in other for other in held)]


def _plain(text: str) -> str:
    return text.strip().strip("\"'`*.:!- \n").casefold()


def first_of_each(rows: Sequence[Row], labels: Sequence[str], most: int = EXAMPLES) -> list[Row]:
    """At most so many rows, in their order: one of every label, then a second of each, as long as there are any."""
    seen: dict[str, int] = {}
    ranked = []
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], place))
    return [rows[place] for _, place in sorted(ranked)[:most]]
