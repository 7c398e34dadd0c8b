"""Bases that could train and would teach nothing: weights or a tokenizer that are not the base's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from media import image_base
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from contender.errors import ModelError
from contender.kinds import kind

LABELS = ("blue", "green", "red")
KIND = kind("text-classification")


@pytest.fixture
def base(tmp_path: Path, tiny_base: Path) -> Path:
    """A copy of the tiny base, to be broken."""
    copy = tmp_path / "base"
    copy.mkdir()
    for file in tiny_base.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def configure(base: Path, **changes: object) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | changes))


def rewrite(base: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replaces the tensors of the base."""
    weights = base / "model.safetensors"
    save_file(change(load_file(weights)), weights, metadata={"format": "pt"})


def without(base: Path, *names: str) -> None:
    for name in names:
        (base / name).unlink()


def load(base: Path) -> Any:
    """What a training loads, in its order."""
    KIND.load_processor(base)
    return KIND.load_model(base, LABELS)


def no_tokenizer(base: Path) -> None:
    without(base, "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def empty_vocabulary(base: Path) -> None:
    without(base, "tokenizer.json")
    (base / "vocab.txt").write_text("")


def other_tensors(base: Path) -> None:
    rewrite(base, lambda _: {"foo.bar": torch.zeros(3)})


def wider(base: Path) -> None:
    configure(base, hidden_size=64)


def a_layer_more(base: Path) -> None:
    configure(base, num_hidden_layers=3)


def fewer_words(base: Path) -> None:
    configure(base, vocab_size=40)
    words = "embeddings.word_embeddings.weight"
    rewrite(base, lambda tensors: tensors | {words: tensors[words][:40].clone()})


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (no_tokenizer, "has no vocabulary"),
        (empty_vocabulary, "has no vocabulary"),
        (other_tensors, r"lack 37 of the 37 tensors that config.json describes: bert\.embeddings"),
        (wider, r"bert\.embeddings\.LayerNorm\.bias has shape \[32\] instead of \[64\]"),
        (a_layer_more, r"lack 16 of the 53 tensors that config.json describes: bert\.encoder\.layer\.2"),
        (fewer_words, r"knows 568 tokens and the model 40"),
    ],
)
def test_a_base_that_would_train_from_noise_is_refused(base: Path, breaks: Callable[[Path], None], said: str) -> None:
    breaks(base)
    with pytest.raises(ModelError, match=said) as refused:
        load(base)
    assert str(base) in refused.value.what
    assert refused.value.fix and refused.value.exit_code == 2


def no_pooler(base: Path) -> None:
    rewrite(base, lambda tensors: {name: tensor for name, tensor in tensors.items() if "pooler" not in name})


def was_a_classifier(base: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(base, num_labels=5)
    model.save_pretrained(base)


def no_vocabulary_but_in_the_tokenizers_own_file(base: Path) -> None:
    without(base, "vocab.txt")


def no_tokenizer_but_its_vocabulary(base: Path) -> None:
    without(base, "tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize(
    "changes",
    [
        lambda _: None,
        no_pooler,
        was_a_classifier,
        no_vocabulary_but_in_the_tokenizers_own_file,
        no_tokenizer_but_its_vocabulary,
    ],
)
def test_what_a_fresh_head_brings_may_be_missing_from_a_base(base: Path, changes: Callable[[Path], None]) -> None:
    changes(base)
    model = load(base)
    assert model.config.num_labels == len(LABELS)
    words = load_file(base / "model.safetensors")
    found = words.get("embeddings.word_embeddings.weight", words.get("bert.embeddings.word_embeddings.weight"))
    assert torch.equal(model.bert.embeddings.word_embeddings.weight.detach(), found)


@pytest.mark.parametrize("changes", [lambda _: None, no_pooler, was_a_classifier])
def test_a_fresh_head_is_a_function_of_the_seed_alone(base: Path, changes: Callable[[Path], None]) -> None:
    changes(base)
    torch.manual_seed(17)
    plain = AutoModelForSequenceClassification.from_pretrained(
        str(base), num_labels=len(LABELS), ignore_mismatched_sizes=True
    )
    drawn = torch.rand(1)
    torch.manual_seed(17)
    model = load(base)
    assert torch.equal(torch.rand(1), drawn)
    ours, theirs = model.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("task", "base"),
    [("text-classification", "tiny"), ("token-classification", "tiny"), ("image-classification", "image")],
)
def test_the_head_of_as_many_other_labels_is_forgotten_and_that_of_the_same_kept(task, base, tiny_base, tmp_path):
    found = kind(task)
    start = tiny_base if base == "tiny" else image_base(tmp_path / "image")
    before = found.load_model(start, LABELS)
    before.save_pretrained(tmp_path / "before")
    heads = sorted(found.above_encoder(before))
    weight = next(name for name in heads if before.state_dict()[name].shape[:1] == (3,) and name.endswith("weight"))
    same, other = (found.load_model(tmp_path / "before", labels) for labels in (LABELS, ("cold", "mild", "warm")))
    assert torch.equal(same.state_dict()[weight], before.state_dict()[weight])
    assert not (other.state_dict()[weight] == before.state_dict()[weight]).any()
    bias = weight.replace("weight", "bias")
    assert not other.state_dict()[bias].any()
