"""Texts that are written from texts, by asking: an instruction that follows from the task, and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from contender.apibase import Message
from contender.asking.base import MOST_CHARACTERS, Row, Written, asked, fitting
from contender.data.references import references
from contender.names import Task

INSTRUCTIONS = {
    "translation": "Translate the text of the user{languages}. Answer with the translation, and nothing else.",
    "summarization": "Summarize the text of the user. Answer with the summary, and nothing else.",
}


class Pairs(Written):
    """Translation and summarization. From and to which language is known where the columns of the data are named for theirs."""

    def __init__(self, task: str, facts: Task, columns: Mapping[str, str], longest: int | Literal["auto"]) -> None:
        super().__init__(longest)
        assert facts.example is not None
        self.roles = (facts.example, facts.target)
        self._source, self._target = self.roles
        self._instruction = INSTRUCTIONS[task].format(languages=_languages([columns[role] for role in self.roles]))

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        return fitting(rows)

    def question(self, row: Row, shown: Sequence[Row]) -> list[Message]:
        examples = ((example[self._source], references(example[self._target])[0]) for example in shown)
        return asked(self._instruction, examples, row[self._source][:MOST_CHARACTERS])

    def most_tokens(self, rows: Sequence[Row]) -> int:
        return self.limit([references(row[self._target])[0] for row in rows])

    def reference(self, row: Row) -> str:
        return row[self._target]


def _languages(columns: Sequence[str]) -> str:
    from contender.data.shapes import is_language

    source, target = columns
    return f" from {source} to {target}" if is_language(source) and is_language(target) else ""
