"""What a family of tasks must say so that a model that is only asked can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from contender.apibase import Message

Row = dict[str, str]  # role → cell

EXAMPLES = 8  # that a few-shot question shows, at most
# Of a question, and of all its examples together where they are texts of any length: some 8,000 tokens of most languages.
MOST_CHARACTERS = 32_000
FEWEST_TOKENS, MOST_TOKENS = 16, 4096  # of an answer whose length only the data says


class Asking(Protocol):
    """How a task is asked; a row is what a row file has of `roles`, and no cell of it is missing."""

    revision: int  # raised when the same rows are asked otherwise
    among: int  # training rows that examples are chosen among
    nothing: str  # the prediction where an answer says nothing that could be right

    @property
    def roles(self) -> tuple[str, ...]:
        """What of a row file it reads."""

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """The training rows that a few-shot question shows, at most EXAMPLES; `rows`: `among` of them, or all."""

    def question(self, row: Row, shown: Sequence[Row]) -> list[Message]:
        """What is asked about a row. DataError where it cannot be."""

    def most_tokens(self, rows: Sequence[Row]) -> int | None:
        """Tokens of an answer, at most, by training rows; None: those of a label."""

    def reference(self, row: Row) -> str:
        """What is right, as outcomes of the task hold it."""

    def prediction(self, answer: str) -> str:
        """What an answer means, as outcomes of the task hold it."""


class Written:
    """What families have in common whose answers are taken as they are written."""

    revision = 1
    among = 4 * EXAMPLES
    nothing = ""

    def __init__(self, longest: int | Literal["auto"]) -> None:
        self._longest = longest

    def prediction(self, answer: str) -> str:
        return answer.strip()[:MOST_CHARACTERS].strip()

    def limit(self, answers: Sequence[str]) -> int:
        """What the spec says of an answer's tokens; by default what training answers need."""
        return usual_tokens(answers) if self._longest == "auto" else self._longest


def asked(instruction: str, examples: Iterable[tuple[str, str]], text: str) -> list[Message]:
    """A question about a text, behind examples of one with its answer, each as a turn of the user and one of the model."""
    turns: list[Message] = [{"role": "system", "content": instruction}]
    for example, answer in examples:
        turns += [{"role": "user", "content": example}, {"role": "assistant", "content": answer}]
    return [*turns, {"role": "user", "content": text}]


def usual_tokens(answers: Sequence[str]) -> int:
    """Tokens that nearly all of these answers need at most, whatever the tokenizer: a token has a byte at least.

    It is a power of two, so that a few more rows do not ask, and pay, for everything again.
    """
    from contender.kinds._pairs import usual_length

    usual = usual_length([answer.encode() for answer in answers])
    return min(max(FEWEST_TOKENS, 1 << (usual - 1).bit_length()), MOST_TOKENS)


def fitting(rows: Sequence[Row]) -> list[Row]:
    """The first rows that may be shown: EXAMPLES of them, and of MOST_CHARACTERS together; one that is too long is passed over."""
    found: list[Row] = []
    left = MOST_CHARACTERS
    for row in rows:
        size = sum(map(len, row.values()))
        if size <= left and len(found) < EXAMPLES:
            found.append(row)
            left -= size
    return found
