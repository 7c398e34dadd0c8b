"""Rows of a source of conversations: each layout that people keep them in, made into one column of contender/data/chats.py's cells.

    messages            [{"role": "user", "content": "…"}, …]      OpenAI's: a content of text parts, tool calls, and results too
    conversations       [{"from": "human", "value": "…"}, …]       ShareGPT's: human, gpt, system, function_call, observation
    instruction         with input, and output; or context, and response; `history` holds [question, answer] pairs before it
    prompt              with completion, response or answer
    question            with answer or response

In each of them a turn may be written as in the first two, `system` and `tools` columns become the system turn, and a preference is an
example of what people wanted: `chosen` is the answer, `rejected` is left; rows whose boolean `label` is false are left out. The columns
that a conversation is made of are gone then, and all others stay. What no layout explains stays as it is, for the quality gate to name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from contender.data.chats import MESSAGES, cell_of
from contender.data.delimited import FAULT
from contender.data.values import as_text, without_surrogates
from contender.errors import DataError
from contender.names import ANSWER, PROMPT, SYSTEM
from contender.text import listed

TOOLS, HISTORY, CHOSEN, REJECTED, WANTED = "tools", "history", "chosen", "rejected", "label"
TURNS = ("conversations", "conversation")  # a list of turns, where there is no column `messages`
LAYOUTS = (
    "messages or conversations (a list of turns), instruction and output, prompt and completion, question and answer"
)
SAME_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function": "tool",
    "developer": "system",
}


@dataclass(frozen=True)
class Layout:
    """The columns of a batch that its conversations are made of: all `turns` in one, or the rest of them in several."""

    turns: str | None
    prompt: str | None = None
    more: str | None = None
    answer: str | None = None
    system: str | None = None
    history: str | None = None
    tools: str | None = None

    @property
    def columns(self) -> set[str]:
        return {name for name in vars(self).values() if name is not None}


class ChatRows:
    """One reading of a source. `given`: role or part → column, as the spec names them; a part is PROMPT, ANSWER or SYSTEM."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._column = given[MESSAGES]

    def of_table(self, batch: pa.RecordBatch, file: str) -> tuple[pa.RecordBatch, pa.Array | None]:
        """A table's rows with their conversations in one column; and which of them are wanted, where the table says so.

        DataError where the columns are those of no layout.
        """
        names = batch.schema.names
        if names in ([], [FAULT]):
            return batch, None
        shown = [name for name in names if name != FAULT]
        missing = [column for part, column in self._given.items() if part != MESSAGES and column not in names]
        if missing:
            raise DataError(
                f"{file} has no column {listed(missing)}; it has {listed(shown, 20)}",
                "Correct data.columns.",
            )
        layout = layout_of(names, self._given)
        if layout is None:
            raise DataError(
                f"{file} holds no conversations in a layout that is read; its columns are {listed(shown, 20)}",
                f"Known: {LAYOUTS}. Name others in data.columns: {{{MESSAGES}: …}}, or {{{PROMPT}: …, {ANSWER}: …}}.",
            )
        wanted = wanted_in(batch)
        cells = pa.array(_cells(batch, layout), pa.string())
        gone = {*layout.columns, REJECTED, CHOSEN, self._column, *([WANTED] if wanted is not None else [])}
        columns = {name: batch.column(name) for name in names if name not in gone}
        made = pa.record_batch([*columns.values(), cells], names=[*columns, self._column])
        return made, wanted


def wanted_in(batch: pa.RecordBatch) -> pa.Array | None:
    """Which rows hold answers that somebody wanted; None where the table does not say."""
    if WANTED not in batch.schema.names or not pt.is_boolean(batch.schema.field(WANTED).type):
        return None
    return pc.fill_null(batch.column(WANTED), True)


def layout_of(names: Sequence[str], given: Mapping[str, str] | None = None) -> Layout | None:
    """The layout of a table with these columns: what `given` says, else the first of LAYOUTS that it has the columns of."""
    given = given or {MESSAGES: MESSAGES}
    beside = {
        "system": _first(names, given.get(SYSTEM, SYSTEM)),
        "tools": _first(names, TOOLS),
        "history": _first(names, HISTORY),
    }
    if PROMPT in given and ANSWER in given:
        return _pair(names, (given[PROMPT],), (), (given[ANSWER],), beside)
    others = TURNS if given[MESSAGES] == MESSAGES else ()
    turns = _first(names, given[MESSAGES], *others)
    if turns is not None:
        return Layout(turns, answer=_first(names, CHOSEN), system=beside["system"], tools=beside["tools"])
    if not others:
        return None
    return (
        _pair(names, ("instruction",), ("input", "context"), ("output", "response", CHOSEN), beside)
        or _pair(names, ("prompt",), (), ("completion", "response", "answer", CHOSEN), beside)
        or _pair(names, ("question",), (), ("answer", "response"), beside)
        or (Layout(CHOSEN, system=beside["system"], tools=beside["tools"]) if CHOSEN in names else None)
    )


def _pair(
    names: Sequence[str],
    prompts: Sequence[str],
    more: Sequence[str],
    answers: Sequence[str],
    beside: Mapping[str, str | None],
) -> Layout | None:
    prompt, answer = _first(names, *prompts), _first(names, *answers)
    if prompt is None or answer is None:
        return None
    return Layout(None, prompt, _first(names, *more), answer, **beside)


def _first(names: Sequence[str], *wanted: str) -> str | None:
    return next((name for name in wanted if name in names), None)


def _cells(batch: pa.RecordBatch, layout: Layout) -> Iterator[str | None]:
    """The conversation of each row; null for one that could not be read, and for one that says nothing."""
    read = {part: _values(batch, column) for part, column in vars(layout).items() if column is not None}
    faults = batch.column(FAULT).is_valid().to_pylist() if FAULT in batch.schema.names else [False] * batch.num_rows
    for row, faulty in enumerate(faults):
        parts = {part: values[row] for part, values in read.items()}
        if faulty or all(parts.get(part) is None for part in ("turns", "prompt", "answer")):
            yield None
        else:
            turns = _of_pair(parts) if layout.turns is None else _of_turns(parts)
            yield _text(parts["turns"]) if turns is None else _written(turns, parts)


def _values(batch: pa.RecordBatch, column: str) -> list[Any]:
    """Text, or lists and objects where the column is nested."""
    array = batch.column(column)
    return list((array if pt.is_nested(array.type) else as_text(array)).to_pylist())


def _text(value: Any) -> str:
    return without_surrogates(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _written(turns: list[Any], parts: Mapping[str, Any]) -> str:
    """A cell of the turns. What columns of their own say of the system and its tools stands in front; a system turn wins."""
    first = turns[0] if turns and isinstance(turns[0], dict) else {}
    if first.get("role") == "system" and isinstance(first["content"], str):
        own, turns = first["content"], turns[1:]
    else:
        own = _plain(parts.get("system"))
    said = "\n\n".join(filter(None, (own, _plain(parts.get("tools")))))
    return without_surrogates(cell_of([*([{"role": "system", "content": said}] if said else []), *turns]))


def _plain(value: Any) -> str:
    """The text of a column beside the conversation; nothing of one that says nothing."""
    text = "" if value is None else _text(value)
    return "" if text.strip() in ("", "[]", "{}", "null") else text


def _of_turns(parts: Mapping[str, Any]) -> list[Any] | None:
    """Turns of one column, and the answer that people chose where the last one waits for it; None where it lists none."""
    listed = _parsed(parts["turns"])
    if not isinstance(listed, list):
        return None
    turns = [_turn(turn) for turn in listed]
    answered = bool(turns) and isinstance(turns[-1], dict) and turns[-1].get("role") == "assistant"
    return turns if answered else [*turns, *_said(parts.get("answer"), "assistant")]


def _of_pair(parts: Mapping[str, Any]) -> list[Any]:
    answer = _said(parts.get("answer"), "assistant")
    if answer and isinstance(answer[0], dict) and answer[0]["role"] in ("system", "user"):
        return answer  # a preference that repeats its prompt
    history = [turn for pair in _pairs(parts.get("history")) for turn in pair]
    return [*history, *_asked(parts.get("prompt"), parts.get("more")), *answer]


def _asked(prompt: Any, more: Any) -> list[Any]:
    if more is None or not _plain(more):
        return _said("" if prompt is None else prompt, "user")
    return _said("\n".join(filter(None, (_plain(prompt), _text(more)))), "user")


def _pairs(history: Any) -> Iterator[list[Any]]:
    for pair in _parsed(history) or ():
        if isinstance(pair, list) and len(pair) == 2:
            yield [{"role": role, "content": said} for role, said in zip(("user", "assistant"), pair, strict=True)]


def _said(value: Any, role: str) -> list[Any]:
    """The turns that a cell of one side holds: turns as they are, else its text as one; none of a null."""
    if value is None:
        return []
    parsed = _parsed(value)
    turns = [parsed] if isinstance(parsed, dict) else parsed
    if isinstance(turns, list) and turns and all(map(_is_turn, turns)):
        return [_turn(turn) for turn in turns]
    return [{"role": role, "content": _text(value)}]


def _parsed(value: Any) -> Any:
    """What a cell holds: nested already, or as JSON text; None where it is other text."""
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ({"role", "content"} <= value.keys() or {"from", "value"} <= value.keys())


def _turn(turn: Any) -> Any:
    """A turn of any layout in the one form; as it is where it is none."""
    if not isinstance(turn, dict):
        return turn
    role = turn["role"] if turn.get("role") is not None else turn.get("from")
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    role = SAME_ROLES.get(role, role) if isinstance(role, str) else role
    content = _joined(content)
    calls = _calls(turn) if role == "assistant" else []
    if calls and (content is None or isinstance(content, str)):
        content = "\n".join(filter(None, (content, *calls)))
    return {"role": role, "content": content}


def _joined(content: Any) -> Any:
    """The text of content parts; the parts as they are where one is no text."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    kept = [text for text in texts if isinstance(text, str)]
    return "\n".join(kept) if len(kept) == len(texts) else content


def _calls(turn: Mapping[str, Any]) -> list[str]:
    """The calls of a turn, each as the JSON of its name and arguments, as ShareGPT's layout writes one."""
    called = turn.get("tool_calls")
    calls = (
        [call.get("function", call) for call in called if isinstance(call, dict)] if isinstance(called, list) else []
    )
    return [
        json.dumps({"name": call.get("name"), "arguments": _arguments(call)}, ensure_ascii=False, default=str)
        for call in (*calls, turn.get("function_call"))
        if isinstance(call, dict)
    ]


def _arguments(call: Mapping[str, Any]) -> Any:
    given = call.get("arguments")
    parsed = _parsed(given)
    return given if parsed is None else parsed
