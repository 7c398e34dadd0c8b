"""Integrated gradients of a real, tiny classifier: they add up, repeat, and stay with the answer that was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from contender.attribution import TOLERATED_GAP
from contender.errors import Interrupted, ModelError
from contender.kinds import _attribution, kind
from contender.kinds._attribution import Explainer
from contender.kinds._classifier import Classifier

KIND = kind("text-classification")
LABELS = ("blue", "green", "red")
pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_base) -> Path:
    """A release whose answers differ from text to text: random weights, ten times as large as they begin."""
    from contender.training.saving import save_model_files

    folder = tmp_path_factory.mktemp("release")
    loaded = KIND.load_model(tiny_base, LABELS)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in loaded.named_parameters():
            if "embeddings" not in name and weight.dim() > 1:
                weight.normal_(std=0.3)
    save_model_files(loaded, KIND.load_processor(tiny_base), 16, folder)
    return folder


@pytest.fixture
def rows(rows_file, coloured_rows) -> Path:
    return rows_file("rows.arrow", coloured_rows(40))


@pytest.fixture
def answers(model, rows) -> dict[int, str]:
    found = KIND.predict(model, rows).to_pydict()
    return {row: found["prediction"][row] for row in range(0, 40, 2)}


def test_weights_add_up_to_what_the_text_gained_over_padding(model, rows, answers):
    seen: list[int] = []
    found = KIND.explain(model, rows, answers, on_rows=seen.append)
    assert [(one.row, one.answer) for one in found] == list(answers.items())
    assert seen[-1] == len(answers)
    for one in found:
        total = sum(span.weight for span in one.spans)
        size = sum(abs(span.weight) for span in one.spans)
        assert abs(total - one.gain) <= TOLERATED_GAP * size + 1e-4, one
    assert max(abs(one.gain) for one in found) > 0.5, "there was something to explain"


def test_gains_are_those_of_the_models_own_logits(model, rows, answers):
    """Of the same model loaded anew, without a hook: position and token types as they are, padding's embedding everywhere."""
    classifier = Classifier(model, KIND.load_processor(model))
    row = next(iter(answers))
    (one,) = KIND.explain(model, rows, {row: answers[row]})
    import datasets

    text = datasets.Dataset.from_file(str(rows))[row]["text"]
    ids = torch.tensor([classifier._tokenizer(text)["input_ids"]])
    empty = ids.clone()
    empty[0, 1:-1] = classifier._tokenizer.pad_token_id
    with torch.inference_mode():
        full, none = (
            classifier._model(input_ids=each, attention_mask=torch.ones_like(ids)).logits[0] for each in (ids, empty)
        )
    label = classifier.names.index(one.answer)
    assert one.gain == pytest.approx(float(full[label] - none[label]), abs=1e-4)


def test_no_text_is_begun_once_time_is_up_and_the_shortest_come_first(model, rows, answers, monkeypatch):
    everything = {one.row: len(one.spans) for one in KIND.explain(model, rows, answers)}
    monkeypatch.setattr(_attribution, "SECONDS", -1.0)
    found = KIND.explain(model, rows, answers)
    assert len(found) == _attribution.EXAMPLES_AT_ONCE < len(answers)
    longest = max(everything[one.row] for one in found)
    assert all(spans >= longest for row, spans in everything.items() if row not in {one.row for one in found})


def test_the_same_rows_give_the_same_bytes(model, rows, answers):
    one, other = (KIND.explain(model, rows, answers) for _ in range(2))
    assert [each.to_bytes() for each in one] == [each.to_bytes() for each in other]


def test_spans_are_the_words_of_the_row(model, rows_file):
    text = "  WORD1 nobody-knows\tred \U0001f469\u200d\U0001f4bb word2"
    rows = rows_file("one.arrow", [(text, "red")])
    (answer,) = KIND.predict(model, rows).to_pydict()["prediction"]
    (one,) = KIND.explain(model, rows, {0: answer})
    words = [text[span.start : span.end] for span in one.spans]
    assert words[0] == "WORD1" and "red" in words and words[-1] == "word2"
    assert {"nobody", "-", "knows"} <= set(words)


def test_a_row_that_the_model_answers_otherwise_is_left_out(model, rows, answers):
    row, answer = next(iter(answers.items()))
    other = next(label for label in LABELS if label != answer)
    assert KIND.explain(model, rows, {row: other}) == []
    assert KIND.explain(model, rows, {row: "a label of another model"}) == []


@pytest.mark.parametrize(
    "text", ["", " ", "e" + "\u0301" * 10_000, "\u202e\x1b[31m<script>", "red " * 2_500_000, "[SEP] red [PAD]"]
)
def test_hostile_texts_are_explained_as_far_as_the_model_reads(model, rows_file, text):
    more = ("word1 red", "red")
    found = KIND.predict(model, rows_file("head.arrow", [(text[:20_000], "red"), more])).to_pydict()["prediction"]
    explained = KIND.explain(model, rows_file("all.arrow", [(text, "red"), more]), dict(enumerate(found)))
    assert [one.row for one in explained] == [0, 1]
    assert all(0 <= span.start < span.end <= len(text) for span in explained[0].spans)


def test_more_points_are_taken_where_the_weights_do_not_add_up(model, rows, answers, monkeypatch):
    monkeypatch.setattr(_attribution, "STEPS", 1)
    better = KIND.explain(model, rows, answers)
    monkeypatch.setattr(_attribution, "MORE_STEPS", 1)
    rough = KIND.explain(model, rows, answers)
    assert max(one.gap for one in better) <= TOLERATED_GAP < max(one.gap for one in rough), "and the gap is told"


def test_weights_that_miss_most_of_what_they_should_explain_are_not_shown(model, rows, answers, monkeypatch):
    monkeypatch.setattr(_attribution, "USELESS_GAP", -1.0)
    assert KIND.explain(model, rows, answers) == []


def kin(name: str, vocabulary: int) -> Any:
    """A tiny random classifier of another architecture, over the tiny base's vocabulary."""
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2} if name == "GPT2" else small | {"max_position_embeddings": 66}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = getattr(transformers, f"{name}Config")(vocab_size=vocabulary, num_labels=3, **ends, **sizes)
    torch.manual_seed(1)
    return getattr(transformers, f"{name}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["Roberta", "GPT2", "Llama"])
def test_models_that_look_at_the_ids_of_padding_are_explained_too(tiny_base, name, side):
    """For their positions, or for the end of the text: the ids stay those of the text, only their embeddings change."""
    tokenizer = KIND.load_processor(tiny_base)
    tokenizer.padding_side = side
    texts = ["red word1 word2 word3", "word5 blue", "green word7 word8 word9 word10"]
    explainer = Explainer(kin(name, len(tokenizer)), tokenizer, torch.device("cpu"))
    found = [explainer.explain([text], [answer])[0] for text in texts for answer in range(3)]
    explained = [one for one in found if one]
    assert len(explained) == len(texts), "one answer each"
    assert max(one.gap for one in explained) <= TOLERATED_GAP
    together = explainer.explain(texts, [answer for at in range(3) for answer in range(3) if found[3 * at + answer]])
    assert all(one and one.gap <= TOLERATED_GAP for one in together)


def test_weights_that_are_no_numbers_explain_nothing(model):
    classifier = Classifier(model, KIND.load_processor(model))
    with torch.no_grad():
        classifier._model.classifier.bias.fill_(float("nan"))
    assert classifier.explain(["word1 red"], ["blue"]) == [None]


class Odd(Classifier):
    """A model that lacks something that most have."""

    def __init__(self, folder: Path, **lacks: object) -> None:
        super().__init__(folder, KIND.load_processor(folder))
        for name, value in lacks.items():
            setattr(self._model, name, value)


def test_a_model_that_cannot_be_explained_says_so_and_nothing_worse(model):
    def none() -> None:
        raise NotImplementedError("`get_input_embeddings` not auto-handled")

    with pytest.raises(ModelError, match=r"BertForSequenceClassification cannot be explained: .*not auto-handled"):
        Odd(model, get_input_embeddings=none).explain(["red"], ["red"])
    with pytest.raises(ModelError, match="cannot be explained"):
        Odd(model, get_input_embeddings=lambda: torch.nn.Embedding(9, 9)).explain(["red"], ["red"])  # not on the path
    slow = Odd(model)
    slow._tokenizer = lambda *texts, **asked: {"input_ids": [[2, 5, 3]]}  # a tokenizer that tells no offsets
    slow._tokenizer.__dict__ |= {"model_max_length": 16}
    with pytest.raises(ModelError, match="cannot be explained"):
        slow.explain(["red"], ["red"])


def test_a_request_to_stop_is_no_fault_of_the_model(model):
    def stop(done: int) -> None:
        raise Interrupted("stopped", "again")

    answer = Odd(model).probabilities(["red"], 1).argmax()
    with pytest.raises(Interrupted):
        Odd(model).explain(["red"], [LABELS[answer]], stop)
