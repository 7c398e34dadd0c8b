"""Conversations, as the cells of a row file hold them: JSON text of a list of turns, the last of them the answer to learn.

    [{"role": "system", "content": "…"}, {"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]

A system turn may stand first. Then user and assistant take turns; behind an assistant's turn, which may be a call, `tool` turns may
give results, and the assistant goes on. The last turn is the assistant's. What else a cell may hold is one of FAULTS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from contender.errors import DataError

Messages = list[dict[str, str]]

MESSAGES = "messages"  # the role of cells that hold conversations
ROLES = ("system", "user", "assistant", "tool")
FOLLOWS = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
Fault = Literal[
    "no conversation",
    "unknown role",
    "content that is no text",
    "system turn behind others",
    "tool result without a call",
    "roles out of order",
    "empty turn",
    "no answer",
    "empty answer",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
MISPLACED: dict[str, Fault] = {"system": "system turn behind others", "tool": "tool result without a call"}
BETWEEN = " · "  # turns that people read
FILLERS = frozenset("\u034f\u115f\u1160\u3164\uffa0")  # letters that show nothing


def messages_of(cell: Any) -> Messages | None:
    """The turns that a cell holds; None where it is no conversation that ends with an answer."""
    turns = _turns(cell)
    if turns is None or _fault(turns):
        return None
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def fault_of(cell: Any) -> Fault | None:
    """Which of FAULTS a cell has, the first that is found; None where it is a conversation that ends with an answer."""
    turns = _turns(cell)
    return "no conversation" if turns is None else _fault(turns)


def conversation_of(cell: Any, where: str) -> Messages:
    """The turns that a cell holds; DataError, naming `where` it lies, where it is no conversation that ends with an answer."""
    found = messages_of(cell)
    if found is None:
        raise DataError(
            f"{where} is no conversation that ends with an answer: {fault_of(cell)}",
            "Golden sets pass no quality gate: correct the row there.",
        )
    return found


def prompt_of(messages: Sequence[Mapping[str, str]]) -> Messages:
    """All turns but the answer."""
    return [dict(turn) for turn in messages[:-1]]


def answer_of(messages: Sequence[Mapping[str, str]]) -> str:
    """The content of the last turn."""
    return messages[-1]["content"]


def cell_of(turns: Sequence[Mapping[str, Any]]) -> str:
    """The one way in which a conversation is written into a cell, whether or not it has a fault."""
    return json.dumps(turns, ensure_ascii=False, default=str)


def prompt_words(cell: str) -> str:
    """What is said before the answer, as one text: by this an example is known. A cell with a fault is its own."""
    messages = messages_of(cell)
    return cell if messages is None else "\n".join(turn["content"] for turn in messages[:-1])


def shown_prompt(cell: str) -> str:
    """The turns before the answer for people, in one line: a single question by itself, else each behind the name of its role."""
    messages = messages_of(cell)
    if messages is None:
        return cell
    if len(messages) == 2:
        return messages[0]["content"]
    return BETWEEN.join(f"{turn['role']}: {turn['content']}" for turn in messages[:-1])


def _turns(cell: Any) -> list[dict[str, Any]] | None:
    try:
        turns = json.loads(cell) if isinstance(cell, str) else None
    except (ValueError, RecursionError):
        return None
    return turns if isinstance(turns, list) and turns and all(isinstance(turn, dict) for turn in turns) else None


def _fault(turns: Sequence[Mapping[str, Any]]) -> Fault | None:
    last = len(turns) - 1
    before = ""
    for place, turn in enumerate(turns):
        role, content = turn.get("role"), turn.get("content")
        if role not in ROLES:
            return "no conversation" if role is None else "unknown role"
        if not isinstance(content, str):
            return "content that is no text"
        if role not in FOLLOWS[before]:
            return MISPLACED.get(role, "roles out of order")
        if role in ("user", "assistant") and _is_blank(content):
            return "empty answer" if place == last and role == "assistant" else "empty turn"
        before = role
    return None if before == "assistant" else "no answer"


def _is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return not any(character.isprintable() and character != " " and character not in FILLERS for character in text)
