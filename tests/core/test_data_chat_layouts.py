"""Every layout that people keep conversations in is read as it is, into the same cells."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chats import conversations, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.data.chatrows import ChatRows
from contender.data.chats import FAULTS, fault_of, messages_of, prompt_words
from contender.data.counting import count_rows
from contender.data.examples import forms
from contender.data.normalise import NORMALISER
from contender.data.places import locate
from contender.data.rowfile import RowWriter, read_batches
from contender.data.source import ReadOptions, ingest, peek
from contender.data.split import split
from contender.data.values import from_python
from contender.errors import DataError
from contender.names import TASKS
from contender.records import FileSet, SplitDefinition

DATA = Path(os.environ.get("CONTENDER_DATA", Path(__file__).parents[3] / "shared" / "data"))
GIVEN = {"messages": "messages"}


def made(rows: list[dict], given: dict[str, str] = GIVEN) -> list[str | None]:
    """The cells that rows of a table become."""
    names = {name: None for row in rows for name in row}
    table = pa.record_batch([from_python([row.get(name) for row in rows]) for name in names], names=list(names))
    batch, wanted = ChatRows(given).of_table(table, "a.json")
    return (batch if wanted is None else batch.filter(wanted)).column(given["messages"]).to_pylist()


def read(row: dict, given: dict[str, str] = GIVEN) -> list[dict[str, str]] | None:
    [cell] = made([row], given)
    return messages_of(cell)


def took(folder: Path, source: str, given: dict[str, str] = GIVEN) -> tuple[FileSet, pa.Table]:
    """What a source's files become."""
    options = ReadOptions(chat=given)
    files = ingest(
        source, peek(source, options, base=folder), options, folder / "o", base=folder, required=["messages"]
    )
    return files, pa.Table.from_batches(list(read_batches(folder / "o")))


def openai(messages):
    return {"messages": messages}


def parts(messages):
    return {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in messages]}


def sharegpt(messages):
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    return {"conversations": [{"from": names.get(t["role"], t["role"]), "value": t["content"]} for t in messages]}


def preference(messages):
    """The answer beside the conversation, as for DPO."""
    return {
        "conversations": sharegpt(messages[:-1])["conversations"],
        "chosen": sharegpt(messages[-1:])["conversations"][0],
    }


def whole_preference(messages):
    return {"chosen": messages, "rejected": [*messages[:-1], {"role": "assistant", "content": "worse"}]}


def prompt_of_turns(messages):
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def pair(prompt, answer):
    """Questions with what was asked and answered before; None where a layout of pairs cannot say it."""

    def written(messages):
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        said = messages[bool(system) :]
        if any(turn["role"] == "tool" for turn in said):
            return None
        history = [[said[n]["content"], said[n + 1]["content"]] for n in range(0, len(said) - 2, 2)]
        row = {prompt: said[-2]["content"], answer: said[-1]["content"]}
        return {**row, **({"system": system} if system else {}), **({"history": history} if history else {})}

    return written


LAYOUTS = {
    "openai": openai,
    "parts": parts,
    "sharegpt": sharegpt,
    "preference": preference,
    "whole preference": whole_preference,
    "prompt of turns": prompt_of_turns,
    "instruction": pair("instruction", "output"),
    "prompt": pair("prompt", "completion"),
    "question": pair("question", "answer"),
}


@settings(max_examples=30, deadline=None)
@given(conversations())
def test_a_conversation_is_the_same_from_every_layout(messages):
    written = {name: layout(messages) for name, layout in LAYOUTS.items()}
    assert {name: read(row) for name, row in written.items() if row} == {
        name: messages for name, row in written.items() if row
    }


@pytest.mark.parametrize("layout", [openai, parts, sharegpt, preference, whole_preference, prompt_of_turns])
def test_parquet_gives_what_json_gives(tmp_path, layout):
    said = [
        turns("system: Be kind.", "user: a", "assistant: b", "tool: c", "assistant: d"),
        turns("user: x", "assistant: y"),
    ]
    rows = list(map(layout, said))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    _, table = took(tmp_path, "a.parquet")
    assert list(map(messages_of, table.column("messages").to_pylist())) == said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction": "Add", "input": "1 2", "output": "3"}, turns("user: Add\n1 2", "assistant: 3")),
        ({"instruction": "Add", "context": "", "response": "3"}, turns("user: Add", "assistant: 3")),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, turns("user: a", "assistant: b")),
        ({"prompt": "a", "chosen": turns("user: a", "assistant: b"), "rejected": []}, turns("user: a", "assistant: b")),
        ({"prompt": "[1, 2]", "response": '{"a": 1}'}, turns("user: [1, 2]", 'assistant: {"a": 1}')),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": '[{"f": 1}]'},
            turns('system: [{"f": 1}]', "user: a", "assistant: b"),
        ),
        (
            {"messages": turns("system: own", "user: a", "assistant: b"), "system": "other", "tools": [{"f": 1}]},
            turns('system: own\n\n[{"f": 1}]', "user: a", "assistant: b"),
        ),
        ({"prompt": "a", "completion": "b", "system": " ", "tools": "[]"}, turns("user: a", "assistant: b")),
        (
            {
                "messages": [
                    {"role": "developer", "content": "s"},
                    {"role": "user", "content": "a"},
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
                    },
                    {"role": "tool", "content": "2", "tool_call_id": "1"},
                    {"role": "assistant", "content": "b", "tool_calls": []},
                ]
            },
            turns("system: s", "user: a", 'assistant: {"name": "f", "arguments": {"x": 1}}', "tool: 2", "assistant: b"),
        ),
    ],
)
def test_what_stands_beside_a_conversation_has_its_place_in_it(row, said):
    assert read(row) == said


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": "hello"}, "no conversation"),
        ({"messages": [1]}, "no conversation"),
        ({"messages": turns("user: a", "narrator: b")}, "unknown role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content that is no text"),
        ({"prompt": "a", "completion": None}, "no answer"),
        ({"prompt": None, "completion": "b"}, "empty turn"),
        ({"question": "a", "answer": " "}, "empty answer"),
    ],
)
def test_what_is_no_conversation_is_left_for_the_gate_to_name(row, fault):
    [cell, _] = made([row, {**row, **dict.fromkeys(row, "x")}])
    assert fault_of(cell) == fault


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from(["", "[", "user", "assistant", "a", '[{"role": 1}]'])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "tool_calls", "function_call", "function"]), inner
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["messages", "conversations", "chosen"]), ANYTHING, ANYTHING, ANYTHING)
def test_whatever_a_row_holds_it_is_a_conversation_or_has_a_fault(turns, one, other, third):
    rows = [
        {turns: one, "chosen": other, "system": third, "tools": one},
        {"instruction": one, "input": third, "output": other, "history": third},
        {"prompt": one, "completion": other, "system": one},
    ]
    for row in rows:
        [cell] = made([row])
        assert cell is None or (messages_of(cell) is None) == (fault_of(cell) in FAULTS)


@pytest.mark.parametrize("given", [GIVEN, {}])
def test_lists_of_any_depth_stop_nothing(tmp_path, given):
    lines = ['{"messages": [{"role": "user", "content": %s}]}' % ("[" * n + "]" * n) for n in range(930, 1_000, 2)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, json.dumps({"messages": turns("user: a", "assistant: b")})]))
    _, table = took(tmp_path, "a.jsonl", given)
    cells = table.column("messages").to_pylist()
    assert messages_of(cells[-1]) and set(map(fault_of, cells[:-1])) <= {"no conversation", "content that is no text"}


def test_rows_without_a_conversation_are_null():
    assert made([{"prompt": None, "completion": None, "id": 1}, {"prompt": "a", "completion": "b"}])[0] is None


def test_answers_that_nobody_wanted_are_left_out_and_counted(tmp_path):
    rows = [{"id": n, "label": n % 3 != 0, "messages": turns(f"user: {n}", "assistant: b")} for n in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files, table = took(tmp_path, "a.jsonl")
    assert (files.rows, files.files[0].left_out, files.columns) == (6, 3, ("id", "messages"))
    assert table.column("_row").to_pylist() == [2, 3, 5, 6, 8, 9], "rows keep the numbers that their file gives them"
    place = locate("a.jsonl", tmp_path)
    [found], options = place.list()[0], ReadOptions(chat=GIVEN)
    assert count_rows(place, found, files.files[0], options, tmp_path, 100) == (6, True)
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({**row, "label": False}) for row in rows))
    with pytest.raises(DataError, match="holds no rows\nAll 9 say"):
        took(tmp_path, "b.jsonl")


def test_rows_keep_their_numbers_from_batch_to_batch_and_when_a_file_is_read_again(tmp_path):
    batch = pa.record_batch([pa.array(["a", "b", "c"])], names=["messages"])
    writer = RowWriter(tmp_path / "o")
    for _ in range(2):
        writer.begin("a")
        writer.take_back()
        writer.add(batch, pa.array([False, True, True]))
        writer.add(batch, pa.array([True, False, False]))
        writer.add(batch)
    assert (writer.rows, writer.left_out) == (6, 3)
    writer.close()
    [numbers] = {tuple(batch["_row"].to_pylist()) for batch in read_batches(tmp_path / "o")}
    assert numbers == (2, 3, 4, 7, 8, 9) * 2


def test_a_label_that_is_text_leaves_nothing_out():
    rows = [{"label": "false", "prompt": "a", "completion": "b"}]
    assert len(made(rows)) == 1


def test_tables_of_pairs_are_read_and_their_other_columns_stay(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer,topic\n"Why, though?",Because.,x\nfaulty\n')
    files, table = took(tmp_path, "a.csv")
    assert files.columns == ("topic", "messages")
    assert messages_of(table.column("messages")[0].as_py()) == turns("user: Why, though?", "assistant: Because.")
    assert table.column("messages")[1].as_py() is None and "1 cell" in table.column("_fault")[1].as_py()


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"dialog": turns("user: a", "assistant: b"), "messages": 1}, {"messages": "dialog"}),
        ({"frage": "a", "antwort": "b", "prompt": "no", "completion": "no"}, {"prompt": "frage", "answer": "antwort"}),
    ],
)
def test_columns_of_other_names_are_named_in_the_pipeline(row, columns):
    assert read(row, {**GIVEN, **columns}) == turns("user: a", "assistant: b")


@pytest.mark.parametrize("columns", [{"prompt": "frage", "answer": "antwort"}, {"system": "antwort"}])
def test_a_column_that_is_named_has_to_be_there(columns):
    with pytest.raises(DataError, match="no column 'antwort'; it has 'frage', 'messages'"):
        made([{"frage": "a", "messages": []}], {**GIVEN, **columns})


@pytest.mark.parametrize("columns", [{}, {"messages": "dialog"}])
def test_columns_of_no_layout_are_refused_with_those_that_are_known(columns):
    with pytest.raises(DataError) as caught:
        made([{"frage": "a", "text": "b"}], {**GIVEN, **columns})
    assert "'frage', 'text'" in caught.value.what
    assert "conversations" in caught.value.fix and "prompt and completion" in caught.value.fix


def test_the_same_question_with_another_answer_is_the_same_example():
    said = [
        ("user: A  question", "assistant: b"),
        ("user: a question", "assistant: c"),
        ("user: another", "assistant: c"),
    ]
    cells = made([{"messages": turns(*one)} for one in said])
    batch = pa.record_batch([pa.array(cells)], names=["chat"])
    task = TASKS["text-generation"]
    assert forms(batch, task, {"messages": "chat"}) == ["a question", "a question", "another"]


def test_a_held_out_question_is_there_once_and_never_trained_on(tmp_path):
    """By its prompt: whatever else a model answers, it has seen the question."""
    said = [turns("system: Be brief.", f"user: Question {n % 100}, all of it?", f"assistant: {n}") for n in range(200)]
    said += [turns("system: be brief.", f"user: Question  {n}, all of it!", f"assistant: {n}") for n in range(100)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"messages": one}) for one in said))
    took(tmp_path, "a.jsonl")
    np.save(tmp_path / "admitted.npy", np.arange(300))
    definition = SplitDefinition(
        by="hash", key="messages", test=0.3, validation=0.1, column=None, gap=0.0, salt="s", normaliser=NORMALISER
    )
    where = (tmp_path / "o", tmp_path / "admitted.npy", GIVEN, [], definition, {}, tmp_path)
    report = split(*where, near_duplicates=0.85, task=TASKS["text-generation"])
    questions = {
        name: [
            prompt_words(cell)
            for batch in read_batches(tmp_path / f"{name}.arrow")
            for cell in batch["messages"].to_pylist()
        ]
        for name in ("train", "validation", "test")
    }
    assert len(set(questions["test"])) == len(questions["test"]) == report.rows["test"] > 10
    assert report.removed_duplicates > 10 and report.removed_near_duplicates > 10
    trained = {
        question.lower().rstrip("?!").replace("  ", " ") for question in questions["train"] + questions["validation"]
    }
    assert not trained & {question.lower().rstrip("?!").replace("  ", " ") for question in questions["test"]}


@pytest.mark.parametrize(
    ("source", "rows", "left_out"),
    [
        ("llamafactory_demos/dpo_en_demo.json.gz", 300, 0),
        ("llamafactory_demos/glaive_toolcall_en_demo.json.gz", 300, 0),
        ("llamafactory_demos/identity.json.gz", 91, 0),
        ("llamafactory_demos/kto_en_demo.json.gz", 150, 150),
        ("mt_bench/dummy_conversation.json", 500, 0),
        ("gsm8k/test.jsonl.gz", 1_319, 0),
    ],
)
def test_real_layouts_are_read_as_they_lie_there(tmp_path, source, rows, left_out):
    if not (DATA / source).exists():
        pytest.skip(f"{DATA / source} is not there: set CONTENDER_DATA")
    (tmp_path / Path(source).name).symlink_to(DATA / source)
    files, table = took(tmp_path, Path(source).name)
    assert (files.rows, files.files[0].left_out) == (rows, left_out)
    assert Counter(map(fault_of, table.column("messages").to_pylist())) == {None: rows}


def test_a_preference_of_real_data_has_the_answer_that_was_chosen(tmp_path):
    source = DATA / "llamafactory_demos" / "dpo_en_demo.json.gz"
    if not source.exists():
        pytest.skip(f"{source} is not there: set CONTENDER_DATA")
    with gzip.open(source) as stream:
        raw = json.load(stream)
    (tmp_path / "a.json.gz").symlink_to(source)
    answers = [
        messages_of(cell)[-1]["content"] for cell in took(tmp_path, "a.json.gz")[1].column("messages").to_pylist()
    ]
    assert answers == [row["chosen"]["value"] for row in raw]
