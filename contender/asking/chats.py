"""Conversations by asking: the turns of a row are sent as they are, and the answer is the next one."""

from __future__ import annotations

from collections.abc import Sequence

from contender.apibase import Message
from contender.asking.base import MOST_CHARACTERS, Row, Written, fitting
from contender.data.chats import MESSAGES, Messages, answer_of, conversation_of, prompt_of


class Chats(Written):
    """Text generation. A few-shot question shows whole training conversations before the row's own turns."""

    roles = (MESSAGES,)

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        return fitting(rows)

    def question(self, row: Row, shown: Sequence[Row]) -> list[Message]:
        system, turns = _parted(_shortened(prompt_of(_turns(row))))
        before = [turn for example in shown for turn in _example(_turns(example), system)]
        return _sendable([*system, *before, *turns])

    def most_tokens(self, rows: Sequence[Row]) -> int:
        return self.limit([answer_of(_turns(row)) for row in rows])

    def reference(self, row: Row) -> str:
        return answer_of(_turns(row))


def _turns(row: Row) -> Messages:
    return conversation_of(row[MESSAGES], "a row")


def _parted(turns: Messages) -> tuple[Messages, Messages]:
    """The system's turn, where there is one, and the others."""
    begin = 1 if turns[0]["role"] == "system" else 0
    return turns[:begin], turns[begin:]


def _example(turns: Messages, system: Messages) -> Messages:
    """A conversation without its system turn; one that differs from the question's stands before what its user says."""
    own, others = _parted(turns)
    if not own or own == system:
        return others
    return [{**others[0], "content": f"{own[0]['content']}\n\n{others[0]['content']}"}, *others[1:]]


def _shortened(turns: Messages) -> Messages:
    """Without as many of the oldest turns, the system's excepted, as it takes to fit, up to one that the user begins; then cut."""
    system, others = _parted(turns)
    begins = [place for place, turn in enumerate(others) if turn["role"] == "user"]
    kept = next((others[begin:] for begin in begins if _size([*system, *others[begin:]]) <= MOST_CHARACTERS), None)
    kept = others[begins[-1] :] if kept is None else kept
    return [{**turn, "content": turn["content"][:MOST_CHARACTERS]} for turn in (*system, *kept)]


def _size(turns: Messages) -> int:
    return sum(len(turn["content"]) for turn in turns)


def _sendable(turns: Messages) -> list[Message]:
    """With the results of tools as a turn of the user: the protocol takes them only beside calls of its own form."""
    found: list[Message] = []
    for place, turn in enumerate(turns):
        if turn["role"] != "tool":
            found.append(turn)
        elif turns[place - 1]["role"] == "tool":
            found[-1]["content"] += f"\n{turn['content']}"
        else:
            found.append({"role": "user", "content": turn["content"]})
    return found
