"""What a cell must hold to be a conversation, and what is said of one that is none."""

import json
from pathlib import Path

import pytest
from chats import conversations, turns
from hypothesis import given, settings

from contender.data.chats import (
    FAULTS,
    answer_of,
    cell_of,
    fault_of,
    messages_of,
    prompt_of,
    prompt_words,
    shown_prompt,
)
from contender.quality.suites import load_suite


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (None, "no conversation"),
        ("hello", "no conversation"),
        ("[]", "no conversation"),
        ("[" * 100_000, "no conversation"),
        ('[{"text": "a"}]', "no conversation"),
        ('{"role": "user", "content": "a"}', "no conversation"),
        (cell_of(turns("user: a", "narrator: b")), "unknown role"),
        ('[{"role": {}, "content": "a"}]', "unknown role"),
        ('[{"role": "user", "content": ["a"]}]', "content that is no text"),
        ('[{"role": "user", "content": null}, {"role": "assistant", "content": "b"}]', "content that is no text"),
        (cell_of(turns("user: a", "system: b", "assistant: c")), "system turn behind others"),
        (cell_of(turns("system: a", "system: b", "user: c", "assistant: d")), "system turn behind others"),
        (cell_of(turns("user: a", "tool: b", "assistant: c")), "tool result without a call"),
        (cell_of(turns("assistant: a", "user: b", "assistant: c")), "roles out of order"),
        (cell_of(turns("user: a", "user: b", "assistant: c")), "roles out of order"),
        (cell_of(turns("user: a", "assistant: b", "assistant: c")), "roles out of order"),
        (cell_of(turns("user: a", "assistant: b", "tool: c", "user: d")), "roles out of order"),
        (cell_of(turns("user: \u200b", "assistant: b")), "empty turn"),
        (cell_of(turns("user: a", "assistant:  ", "user: b", "assistant: c")), "empty turn"),
        (cell_of(turns("user: a")), "no answer"),
        (cell_of(turns("user: a", "assistant: b", "tool: c")), "no answer"),
        (cell_of(turns("user: a", "assistant:  \n\u3164")), "empty answer"),
    ],
)
def test_a_cell_that_is_no_conversation_has_one_fault(cell, fault):
    assert fault_of(cell) == fault and fault in FAULTS
    assert messages_of(cell) is None


@settings(max_examples=40, deadline=None)
@given(conversations())
def test_a_conversation_is_its_prompt_and_its_answer(messages):
    cell = cell_of(messages)
    assert fault_of(cell) is None and messages_of(cell) == messages
    assert [*prompt_of(messages), {"role": "assistant", "content": answer_of(messages)}] == messages


def test_the_words_of_a_prompt_are_those_that_were_said():
    cell = cell_of(turns("system: Be brief.", 'user: Say "a".', "assistant: a", "user: Now b.", "assistant: b"))
    assert prompt_words(cell) == 'Be brief.\nSay "a".\na\nNow b.'
    assert shown_prompt(cell) == 'system: Be brief. · user: Say "a". · assistant: a · user: Now b.'
    assert shown_prompt(cell_of(turns("user: One question", "assistant: b"))) == "One question"
    assert prompt_words("no chat") == shown_prompt("no chat") == "no chat"


def test_what_else_a_turn_says_is_no_part_of_it():
    cell = json.dumps([{"role": "user", "content": "a", "id": 1}, {"role": "assistant", "content": "b"}])
    assert messages_of(cell) == turns("user: a", "assistant: b")


def test_the_suite_names_every_fault():
    named = [
        (expectation["kwargs"]["fault"], expectation["meta"]["reason"])
        for expectation in load_suite("text_generation.yaml", Path())["expectations"]
        if "fault" in expectation["kwargs"]
    ]
    assert named == [(fault, fault) for fault in FAULTS]


def test_each_row_is_set_apart_for_its_own_reason_and_looked_at_once(gate, monkeypatch):
    looked_at = []
    monkeypatch.setattr("expectations.chats.fault_of", lambda cell: looked_at.append(cell) or fault_of(cell))
    rows = [{"messages": cell_of(turns(f"user: {number}", "assistant: b"))} for number in range(30)]
    rows += [{"messages": cell_of(turns("user: a"))}, {"messages": "a"}, {"messages": cell_of(turns("assistant: a"))}]
    gate(rows, load_suite("text_generation.yaml", Path()), columns={"messages": "messages"})
    assert [row["reasons"] for row in gate.quarantine] == ["no answer", "no conversation", "roles out of order"]
    assert len(looked_at) == len(rows)
