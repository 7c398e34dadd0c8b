"""A small causal language model with a chat template, and conversations that it can learn: an answer is what was asked, in capitals."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from contender.models import resolve_base
from contender.training.options import GenerationOptions, Job, TrainOptions

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ("<|end|>", "<|im_start|>", "<|im_end|>")
LETTERS = "abcdefgh"

Turns = list[dict[str, str]]


def turns(*contents: str, system: str | None = None) -> Turns:
    """User and assistant in turn, behind a system's turn where there is one."""
    roles = ("user", "assistant")
    said = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return [*([{"role": "system", "content": system}] if system else []), *said]


def build_chat_base(folder: Path, template: str | None = CHATML, positions: int = 128, layers: int = 1) -> Path:
    """A random Llama of some 20,000 parameters and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: place for place, letter in enumerate([*SPECIAL, *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=SPECIAL[0],
        additional_special_tokens=list(SPECIAL[1:]),
        model_max_length=positions,
    )
    if template:
        tokenizer.chat_template = template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def talks(count: int, seed: int = 0, longest: int = 3) -> list[Turns]:
    dice = random.Random(seed)
    words = ["".join(dice.choices(LETTERS, k=dice.randint(1, longest))) for _ in range(count)]
    return [turns(word, word.upper()) for word in words]


def last_letters(count: int, seed: int = 0) -> list[Turns]:
    """Words of up to six letters, and the last one of each: learnt at once."""
    dice = random.Random(seed)
    words = ["".join(dice.choices(LETTERS, k=dice.randint(1, 6))) for _ in range(count)]
    return [turns(word, word[-1].upper()) for word in words]


def write_talks(path: Path, rows: Iterable[Turns]) -> Path:
    """A row file as the split writes it."""
    cells = [json.dumps(row) for row in rows]
    table = pa.table(
        [pa.array(cells, pa.string()), pa.array(range(len(cells)), pa.uint64())], names=["messages", "_key"]
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return path


def chat_job(
    folder: Path,
    base: Path,
    train: Sequence[Turns],
    validation: Sequence[Turns],
    output: str = "model",
    method: str = "full",
    generation: dict[str, object] | None = None,
    **options: object,
) -> Job:
    resolved = resolve_base(str(base), folder)
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "precision": "fp32", **options}
    return Job(
        task="text-generation",
        base=resolved.path,
        base_digest=resolved.digest,
        method=method,
        columns={"messages": "messages"},
        labels=(),
        options=TrainOptions.model_validate(settings),
        generation=GenerationOptions.model_validate({"beams": 1} | (generation or {})),
        primary_metric="perplexity",
        train=str(write_talks(folder / "train.arrow", train)),
        validation=str(write_talks(folder / "validation.arrow", validation)),
        output=str(folder / output),
    )
