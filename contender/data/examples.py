"""What an example is, and the normal form under which two of them count as the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from contender.data.chats import MESSAGES, prompt_words, shown_prompt
from contender.data.jsonlists import texts_of
from contender.data.normalise import normalised
from contender.data.rowfile import FILE, ROW
from contender.data.setfile import KEY, TIME
from contender.data.values import as_text
from contender.names import Task

BESIDE = (FILE, ROW, KEY, TIME)  # columns that say where a row came from
WORDS = "tokens"  # the role of cells that list the words of a sentence, in JSON
BETWEEN = "\x1f"  # the cells of an example that is a whole row


def forms(batch: pa.RecordBatch, task: Task, columns: Mapping[str, str], made: Collection[str] = ()) -> list[str]:
    """The examples (rows,) of a batch in normal form; `columns` maps the task's roles to columns.

    `made`: columns that were computed from other rows, and so change as data grows: no part of what a row is.
    Of a list of words it is the sentence: neither how JSON was written nor where a word was cut makes another example. Of a
    conversation it is what was said before the answer: the same question with another answer is the same example.
    """
    if task.example is not None:
        texts = as_text(batch.column(columns[task.example])).to_pylist()
        if task.example == WORDS:
            texts = list(map(_sentence, texts))
        elif task.example == MESSAGES:
            texts = list(map(prompt_words, texts))
        return list(map(normalised, texts))
    left_out = (*BESIDE, columns[task.target], *made)
    names = sorted(name for name in batch.schema.names if name not in left_out)
    cells = [as_text(batch.column(name)).to_pylist() for name in names]
    return [
        BETWEEN.join(f"{name}={'' if cell is None else cell}" for name, cell in zip(names, row, strict=True))
        for row in zip(*cells, strict=True)
    ]


def readable(cell: str, role: str) -> str:
    """A cell of a task's example as people read it: no list of words, no turns in JSON."""
    if role == WORDS:
        return _sentence(cell)
    return shown_prompt(cell) if role == MESSAGES else cell


def _sentence(cell: str) -> str:
    return " ".join(texts_of(cell) or (cell,))
