"""A tiny encoder-decoder and pairs of texts that it can learn: each word has one translation, in the order of the words."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from contender.models import resolve_base
from contender.training.options import GenerationOptions, Job, TrainOptions

ENGLISH = ("one", "two", "three", "four", "five", "six")
GERMAN = ("eins", "zwei", "drei", "vier", "fünf", "sechs")

Pair = tuple[str, str]


def build_pairs_base(folder: Path) -> Path:
    """A random T5 of 20,000 parameters and a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = {word: place for place, word in enumerate(("<pad>", "</s>", "<unk>", *ENGLISH, *GERMAN))}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32
    )
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(words),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0, longest: int = 3) -> list[Pair]:
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        places = [dice.randrange(len(ENGLISH)) for _ in range(dice.randint(1, longest))]
        found.append((" ".join(ENGLISH[n] for n in places), " ".join(GERMAN[n] for n in places)))
    return found


def write_pairs(path: Path, pairs: Iterable[Pair], roles: tuple[str, str] = ("source", "target")) -> Path:
    """A row file as the split writes it."""
    columns = list(zip(*pairs, strict=True)) or [(), ()]
    arrays = [pa.array(column, pa.string()) for column in columns]
    table = pa.table([*arrays, pa.array(range(len(columns[0])), pa.uint64())], names=[*roles, "_key"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def pairs_job(
    folder: Path,
    base: Path,
    train: list[Pair],
    validation: list[Pair],
    output: str = "model",
    generation: dict[str, object] | None = None,
    **options: object,
) -> Job:
    resolved = resolve_base(str(base), folder)
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "precision": "fp32", **options}
    return Job(
        task="translation",
        base=resolved.path,
        base_digest=resolved.digest,
        method="full",
        columns={"source": "source", "target": "target"},
        labels=(),
        options=TrainOptions.model_validate(settings),
        generation=GenerationOptions.model_validate(generation or {}),
        primary_metric="chrf",
        train=str(write_pairs(folder / "train.arrow", train)),
        validation=str(write_pairs(folder / "validation.arrow", validation)),
        output=str(folder / output),
    )
