"""Pairs of texts as tensors: a source that is read, and a target that is written token by token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.data.references import references
from contender.errors import ModelError
from contender.kinds._classifier import pad
from contender.kinds._lengths import LENGTH_QUANTILE, SAMPLED_ROWS
from contender.kinds._loaded import check_vocabulary
from contender.kinds._loading import load_tokenizer

if TYPE_CHECKING:
    import datasets

AUTO = "AutoModelForSeq2SeqLM"
FITS = "a base that reads one text and writes another: T5's, BART's and Marian's kin"

IGNORED = -100  # in labels: no token; as transformers and torch have it


class TextPairs:
    """A tokenizer, and the token that a decoder begins with."""

    def __init__(self, tokenizer: Any, start: int) -> None:
        self.tokenizer = tokenizer
        self.start = start

    @property
    def model_max_length(self) -> int:
        return int(self.tokenizer.model_max_length)

    @model_max_length.setter
    def model_max_length(self, length: int) -> None:
        self.tokenizer.model_max_length = length

    @property
    def pad_token_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def backend_tokenizer(self) -> Any:
        """The fast tokenizer's own; None where there is none."""
        return getattr(self.tokenizer, "backend_tokenizer", None)

    def save_pretrained(self, folder: str) -> None:
        self.tokenizer.save_pretrained(folder)

    def sources(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of each text, cut to `limit`."""
        options = {"truncation": True, "max_length": limit, "return_attention_mask": False, "verbose": False}
        found: list[list[int]] = self.tokenizer(list(texts), **options)["input_ids"]
        return found

    def targets(self, answers: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of each answer, cut to `limit`, its end token kept; of several references the first."""
        texts = [references(answer)[0] for answer in answers]
        options = {"truncation": True, "max_length": limit, "return_attention_mask": False, "verbose": False}
        found: list[list[int]] = self.tokenizer(text_target=texts, **options)["input_ids"]
        return found


def load_pairs(base: Path) -> TextPairs:
    """The base's tokenizer; ModelError where it cannot serve a model that reads one text and writes another."""
    tokenizer, config = load_tokenizer(base, "the tokenizer's files, such as tokenizer.json")
    check_vocabulary(tokenizer, config, base)
    if tokenizer.pad_token is None or tokenizer.eos_token is None:
        raise ModelError(
            f"the tokenizer in {base} has no padding or no end token", "Use a base for such pairs of texts."
        )
    if hasattr(tokenizer, "src_lang"):
        raise ModelError(
            f"the base in {base} writes many languages and must be told which, which is not supported yet",
            "Use a base of one pair of languages, such as Helsinki-NLP/opus-mt-en-de, or T5's and BART's kin.",
        )
    return TextPairs(tokenizer, decoder_start(config))


def decoder_start(config: Any) -> int:
    """The token that a decoder begins with."""
    found = getattr(config, "decoder_start_token_id", None)
    found = config.pad_token_id if found is None else found
    if found is None:
        raise ModelError(
            "config.json names no decoder_start_token_id", "Use a base that reads one text and writes another."
        )
    return int(found)


def sampled(rows: datasets.Dataset, column: str, most: int = SAMPLED_ROWS) -> list[str]:
    """Texts of a column, spread over all rows; by default as many as tell their lengths."""
    import numpy as np

    places = np.unique(np.linspace(0, len(rows) - 1, num=min(len(rows), most)).astype(np.int64))
    texts: list[str] = rows.select(places)[column][:]
    return texts


def usual_length(ids: Sequence[Sequence[int]]) -> int:
    """The length that one in a thousand exceeds, up to a multiple of 8."""
    import numpy as np

    longest = math.ceil(float(np.quantile([len(tokens) for tokens in ids], LENGTH_QUANTILE, method="higher")))
    return -(-longest // 8) * 8


def prepare_pairs(pairs: TextPairs, sources: Sequence[str], answers: Sequence[str], limit: int) -> dict[str, list[Any]]:
    """Columns input_ids, labels, length, and cut: whether source or target is longer than `limit` tokens."""
    read, written = pairs.sources(sources, limit + 1), pairs.targets(answers, limit + 1)
    cut = [max(len(ids), len(labels)) > limit for ids, labels in zip(read, written, strict=True)]
    if any(cut):
        read, written = pairs.sources(sources, limit), pairs.targets(answers, limit)
    lengths = [max(len(ids), len(labels)) for ids, labels in zip(read, written, strict=True)]
    return {"input_ids": read, "labels": written, "length": lengths, "cut": cut}


def batch_of(pairs: TextPairs, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tensors of a batch: input_ids and attention_mask (rows, source), decoder_input_ids and labels (rows, target)."""
    import numpy as np
    import torch

    batch = pad(pairs.tokenizer, [{"input_ids": example["input_ids"]} for example in examples])
    if "labels" not in examples[0]:
        return batch
    width = -(-max(len(example["labels"]) for example in examples) // 8) * 8
    labels = np.full((len(examples), width), IGNORED, np.int64)
    begun = np.full((len(examples), width), pairs.pad_token_id, np.int64)
    begun[:, 0] = pairs.start
    for row, example in enumerate(examples):
        tokens = example["labels"]
        labels[row, : len(tokens)] = tokens
        begun[row, 1 : len(tokens)] = tokens[:-1]
    return batch | {"decoder_input_ids": torch.from_numpy(begun), "labels": torch.from_numpy(labels)}
