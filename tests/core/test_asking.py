"""Asking somebody else's model: what is asked about a row of each task, and what of an answer counts."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from chats import conversations, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from contender.asking import asking_of
from contender.asking.base import EXAMPLES, MOST_CHARACTERS, Asking, fitting
from contender.asking.labels import NO_LABEL, first_of_each, label_of
from contender.data.chats import cell_of
from contender.errors import DataError
from contender.evaluation.metrics import METRICS, compute
from contender.names import TASKS
from contender.records import digest
from contender.selectionspec import API_TASKS, told_by_text
from contender.spec import Spec

ASKED = "api:https://llm.example.com/v1#large"
LABELS = ("card", "card_lost", "New York", "York", "other")


def spec_of(task: str, **sections: Any) -> Spec:
    metric = next(name for name in told_by_text(TASKS[task].metrics) if name != "win_rate")
    data = {"source": "x/", **sections.pop("data", {})}
    model = {"base": ["a", "b", ASKED], **sections.pop("model", {})}
    return Spec.model_validate(
        {"name": "n", "task": task, "data": data, "model": model, "evaluate": {"metrics": [metric]}}
    )


def family(task: str, **sections: Any) -> Asking:
    return asking_of(spec_of(task, **sections), LABELS)


def chat(*said: str) -> dict[str, str]:
    return {"messages": cell_of(turns(*said))}


# --- what there is ----------------------------------------------------------------------------------------------------


def test_every_task_that_can_be_asked_has_a_question_for_its_roles() -> None:
    assert set(API_TASKS) >= {"text-classification", "text-generation", "translation", "summarization"}
    for task in API_TASKS:
        found = family(task)
        assert set(found.roles) == set(TASKS[task].roles), task
        assert found.prediction("") == found.prediction(" \n") == found.nothing, task


def test_a_metric_is_told_by_text_unless_it_needs_probabilities() -> None:
    untold = set(METRICS) - set(told_by_text(list(METRICS)))
    assert untold == {"log_loss", "calibration_error", "perplexity", *TASKS["tabular-classification"].metrics[7:]}


@pytest.mark.parametrize(
    ("task", "metrics", "said"),
    [
        ("text-generation", None, "answers with text alone, and the primary metric is perplexity"),
        ("text-classification", ["log_loss"], "answers with labels alone, and the primary metric is log_loss"),
    ],
)
def test_a_primary_metric_that_needs_probabilities_is_refused_with_those_that_do_not(
    task: str, metrics: list[str] | None, said: str
) -> None:
    value = {"name": "n", "task": task, "data": {"source": "x/"}, "model": {"base": ["a", "b", ASKED]}}
    with pytest.raises(ValueError, match=said) as error:
        Spec.model_validate(value | ({"evaluate": {"metrics": metrics}} if metrics else {}))
    for name in TASKS[task].metrics:
        assert (f" {name}" in str(error.value).partition("make it one of")[2]) == bool(told_by_text([name])), name


# --- one label --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card", "card"),
        (" Card. ", "card"),
        ('"card_lost"', "card_lost"),
        ("The label is: new york", "New York"),
        ("I think card_lost", "card_lost"),
        ("card or other", NO_LABEL),
        ("discard", NO_LABEL),
        ("", NO_LABEL),
        ("no idea", NO_LABEL),
    ],
)
def test_a_label_is_what_an_answer_names_alone(answer: str, label: str) -> None:
    assert label_of(answer, LABELS) == label
    assert family("text-classification").prediction(answer) == label


def test_labels_that_differ_by_case_alone_are_told_apart() -> None:
    assert label_of("US", ("us", "US")) == "US"


def rows(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text, label in pairs]


def test_a_question_holds_every_label_and_examples_of_as_many_as_it_may() -> None:
    asks = family("text-classification")
    few = rows(("a", "x"), ("b", "x"), ("c", "y"), ("d", "x"))
    assert first_of_each(few, [row["label"] for row in few], 3) == rows(("a", "x"), ("c", "y"), ("b", "x"))
    asked = asks.question({"text": "t" * 100_000, "label": "x"}, asks.shown(few))
    assert all(f"- {label}" in asked[0]["content"] for label in LABELS)
    assert [turn["role"] for turn in asked] == ["system", *["user", "assistant"] * 4, "user"]
    assert len(asked[-1]["content"]) == 8_000


def test_what_was_asked_once_is_asked_in_the_same_words_and_found() -> None:
    """The key of answers that were paid for is the digest of these."""
    asks = asking_of(spec_of("text-classification"), ("card", "card_lost", "New York"))
    shown = asks.shown(rows(("a", "card"), ("b", "card"), ("c", "New York")))
    texts = ("my card", "x" * 9000)
    asked = [asks.question({"text": text, "label": "?"}, few) for few in ([], shown) for text in texts]
    assert digest(asked) == "d64cb91320d812c006dbf863eb62332111ed1622d23c2e831df44f8785b403da"
    assert (asks.revision, asks.most_tokens(shown)) == (1, None)


# --- any number of labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("", [NO_LABEL]),
        ("no idea", [NO_LABEL]),
        ('["nosuch"]', [NO_LABEL]),
        ("[1, 2]", [NO_LABEL]),
        ("][", [NO_LABEL]),
        ("[" * 100_000 + "]", [NO_LABEL]),
        ("[]", []),
        ("None fit: []", []),
        ('["other", "card", "card"]', ["card", "other"]),
        ('```json\n["Card", "nosuch", "new york"]\n```', ["New York", "card"]),
        ('["card", "card_lost"]', ["card", "card_lost"]),
        ("card and other", ["card", "other"]),
    ],
)
def test_labels_are_those_that_an_answer_lists_or_names(answer: str, labels: list[str]) -> None:
    assert json.loads(family("multi-label-classification").prediction(answer)) == labels


def test_a_cell_without_a_list_of_labels_is_no_reference() -> None:
    asks = family("multi-label-classification")
    with pytest.raises(DataError, match="no list of labels"):
        asks.reference({"text": "a", "labels": "card"})
    row = {"text": "a", "labels": '["other",  "card"]'}
    assert asks.reference(row) == asks.question(row, [row])[2]["content"] == '["card", "other"]'


def test_an_answer_without_labels_is_wrong_even_where_none_is_right() -> None:
    asks = family("multi-label-classification")
    predictions = [asks.prediction(answer) for answer in ("I cannot tell", "[]", '["card"]')]
    outcomes = pa.table({"label": ["[]", "[]", '["card"]'], "prediction": predictions})
    assert compute(outcomes, ["accuracy", "recall_micro", "precision_micro"]) == {
        "accuracy": pytest.approx(2 / 3),
        "recall_micro": 1.0,
        "precision_micro": 0.5,
    }


# --- conversations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["", "hello", cell_of(turns("user: a")), cell_of(turns("user: a", "assistant:  "))])
def test_a_row_without_an_answer_is_no_question_and_no_example(cell: str) -> None:
    asks, broken, whole = family("text-generation"), {"messages": cell}, chat("user: a", "assistant: b")
    for attempt in (
        lambda: asks.question(broken, []),
        lambda: asks.question(whole, [broken]),
        lambda: asks.reference(broken),
        lambda: asks.most_tokens([broken]),
    ):
        with pytest.raises(DataError, match="a row is no conversation that ends with an answer"):
            attempt()


@settings(max_examples=60, deadline=None)
@given(conversations(), st.lists(conversations(), max_size=3))
def test_a_conversation_is_asked_as_it_stands_behind_its_examples(own: Any, others: Any) -> None:
    """With turns that any server takes: a system's first, then user and assistant in turn, a user's last; and no word is lost."""
    asks = family("text-generation")
    asked = asks.question({"messages": cell_of(own)}, [{"messages": cell_of(other)} for other in others])
    roles = [turn["role"] for turn in asked]
    begin = 1 if own[0]["role"] == "system" else 0
    assert roles[:begin] == ["system"] * begin
    assert roles[begin:] == ["user", "assistant"] * ((len(roles) - begin) // 2) + ["user"]
    said = "\n".join(turn["content"] for turn in asked)
    assert all(turn["content"] in said for turn in [*own[:-1], *(turn for other in others for turn in other)])
    assert asks.reference({"messages": cell_of(own)}) == own[-1]["content"]


def test_an_example_keeps_a_system_turn_that_is_not_the_questions() -> None:
    row = chat("system: be kind", "user: q", "assistant: a")
    same, other = (
        chat("system: be kind", "user: b", "assistant: c"),
        chat("system: be brief", "user: d", "assistant: e"),
    )
    asked = family("text-generation").question(row, [same, other])
    contents = [turn["content"] for turn in asked]
    assert contents == ["be kind", "b", "c", "be brief\n\nd", "e", "q"]


def test_results_of_tools_are_a_turn_of_the_user() -> None:
    row = chat("user: sum", "assistant: add(1, 2)", "tool: 3", "tool: done", "assistant: It is 3.")
    assert family("text-generation").question(row, [])[2:] == [{"role": "user", "content": "3\ndone"}]


def test_what_is_too_long_loses_its_oldest_turns_and_then_its_end() -> None:
    long = "x" * MOST_CHARACTERS
    asks = family("text-generation")
    row = chat("system: s", f"user: {long}", "assistant: a", "user: b", "assistant: c", "user: d", "assistant: e")
    assert [turn["content"] for turn in asks.question(row, [])] == ["s", "b", "c", "d"]
    (only,) = asks.question(chat(f"user: {long}{long}", "assistant: a"), [])
    assert only["content"] == long


# --- texts from texts -------------------------------------------------------------------------------------------------


def test_a_translation_names_the_languages_that_the_columns_are_named_for() -> None:
    row = {"source": "one", "target": "eins"}
    named = family("translation", data={"columns": {"source": "en", "target": "de-AT"}})
    assert "from en to de-AT." in named.question(row, [])[0]["content"]
    unnamed = family("translation", data={"columns": {"source": "en", "target": "answer"}}).question(row, [])
    assert unnamed[0]["content"].startswith("Translate the text of the user. ")


def test_an_example_of_several_references_shows_the_first_and_the_reference_is_all_of_them() -> None:
    asks = family("translation")
    row = {"source": "one", "target": '["eins", "ein"]'}
    asked = asks.question({"source": "t" * 100_000, "target": "?"}, [row])
    assert [turn["content"] for turn in asked[1:3]] == ["one", "eins"] and len(asked[3]["content"]) == MOST_CHARACTERS
    assert asks.reference(row) == row["target"]
    assert [turn["role"] for turn in asked] == ["system", "user", "assistant", "user"]


# --- what is written --------------------------------------------------------------------------------------------------


def test_an_answer_is_taken_as_written_without_the_space_around_it_and_never_longer_than_it_may_be() -> None:
    asks = family("summarization")
    assert asks.prediction("\n A  cat. \n") == "A  cat."
    assert asks.prediction("a" * 10_000_000) == "a" * MOST_CHARACTERS


def test_examples_are_few_and_short_enough_to_be_paid_for() -> None:
    short = [chat("user: a", f"assistant: {number}") for number in range(20)]
    huge = chat(f"user: {'x' * MOST_CHARACTERS}", "assistant: b")
    assert fitting([huge, *short]) == short[:EXAMPLES]
    assert fitting([huge]) == fitting([]) == []
    half = chat(f"user: {'x' * (MOST_CHARACTERS // 2)}", "assistant: b")
    assert fitting([half, half, *short]) == [half, *short[: EXAMPLES - 1]]


@pytest.mark.parametrize(
    ("answers", "tokens"), [(["a"], 16), (["x" * 100], 128), (["ü" * 100], 256), (["x" * 100_000], 4096)]
)
def test_an_answer_may_be_as_long_as_those_of_training(answers: list[str], tokens: int) -> None:
    asks = family("summarization")
    assert asks.most_tokens([{"text": "t", "summary": answer} for answer in answers]) == tokens
    told = family("summarization", model={"generation": {"max_new_tokens": 40}})
    assert told.most_tokens([{"text": "t", "summary": "x" * 900}]) == 40
