"""A tiny base model, real in every part, for tests that train in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

COLOURS = ("red", "green", "blue")
FILLER = tuple(f"word{n}" for n in range(60))
WORDS = (*COLOURS, *FILLER)


def build_tiny_base(folder: Path, words: Iterable[str] = WORDS) -> Path:
    """A random BERT of 30,000 parameters with a word tokenizer over these words and 500 that no row uses."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"unused{n}" for n in range(500))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
