"""Multi-label classification by asking: the question, with some examples or none, and which labels an answer names."""

from __future__ import annotations

from collections.abc import Sequence

from contender.apibase import Message
from contender.asking.base import Row, asked, usual_tokens
from contender.asking.labels import MOST_CHARACTERS, MOST_TRAIN_ROWS, NO_LABEL, first_of_each, named_in
from contender.data.jsonlists import texts_of, written
from contender.errors import DataError
from contender.names import Task
from contender.text import shorten


class LabelSets:
    """Any number of labels of a closed set for each text. A few-shot question shows rows of as many sets as it may."""

    revision = 1
    among = MOST_TRAIN_ROWS
    nothing = written([NO_LABEL])

    def __init__(self, facts: Task, labels: Sequence[str]) -> None:
        assert facts.example is not None
        self.roles = (facts.example, facts.target)
        self._text, self._target = self.roles
        self._labels = labels

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        return first_of_each(rows, [self.reference(row) for row in rows])

    def question(self, row: Row, shown: Sequence[Row]) -> list[Message]:
        listed = "\n".join(f"- {label}" for label in self._labels)
        instruction = (
            "Which of these labels does the text of the user have? It may have several, or none. "
            'Answer with a JSON list of them as they stand here, such as ["one", "another"] or [], and nothing else.'
        )
        examples = ((example[self._text][:MOST_CHARACTERS], self.reference(example)) for example in shown)
        return asked(f"{instruction}\n{listed}", examples, row[self._text][:MOST_CHARACTERS])

    def most_tokens(self, rows: Sequence[Row]) -> int:
        return usual_tokens([self.reference(row) for row in rows])

    def reference(self, row: Row) -> str:
        labels = texts_of(row[self._target])
        if labels is None:
            raise DataError(
                f"a row has no list of labels but {shorten(row[self._target], 80)!r}", "Split the data again."
            )
        return written(labels)

    def prediction(self, answer: str) -> str:
        """The labels of the list that an answer is or holds, else those that it names; an empty list is an answer too."""
        told = texts_of(answer[answer.find("[") : answer.rfind("]") + 1])
        if told == []:
            return written([])
        known = [label for one in (told or [answer]) for label in named_in(one, self._labels)]
        return written(known) if known else self.nothing
