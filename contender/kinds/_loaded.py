"""What transformers loads without a word and nobody should train on: a base's missing parts, drawn at random instead.

It fills in whatever a checkpoint lacks, since a fresh head is meant to be new. Everything else that is new is a base that does not
hold what its config.json describes: it would train, to a worse model, and nothing would say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from contender.errors import ModelError

AGAIN = "Fetch the base again, or name the folder that save_pretrained wrote for the model and its tokenizer alike."
SHOWN = 3  # names in a message


def check_weights(model: Any, loaded: Mapping[str, Collection[Any]], base: Path) -> None:
    """ModelError unless all that is new in `model` is its head, or a pooler, which many bases are saved without.

    `loaded` is what from_pretrained gives with `output_loading_info=True`.
    """
    body = f"{model.base_model_prefix}."
    needed = encoder_names(model)
    missing = sorted(needed & set(loaded["missing_keys"]))
    if missing:
        raise ModelError(
            f"the weights in {base} lack {len(missing)} of the {len(needed)} tensors that config.json describes: {_few(missing)}",
            AGAIN,
        )
    # A head of another shape is one for other labels; from_pretrained draws it anew.
    other = sorted((name, found, wanted) for name, found, wanted in loaded["mismatched_keys"] if name.startswith(body))
    if other:
        shapes = [f"{name} has shape {[*found]} instead of {[*wanted]}" for name, found, wanted in other]
        raise ModelError(f"the weights in {base} are not those that config.json describes: {_few(shapes)}", AGAIN)


def encoder_names(model: Any) -> set[str]:
    """Names of the tensors of the model's encoder: the base's, less a pooler's, which pretraining teaches little where at all."""
    body = f"{model.base_model_prefix}."
    return {name for name in model.state_dict() if name.startswith(body) and "pooler" not in name.split(".")}


def check_vocabulary(tokenizer: Any, model_config: Any, base: Path) -> None:
    """ModelError unless the tokenizer knows words, and the model each of them."""
    vocabulary = tokenizer.get_vocab()
    own = {*tokenizer.all_special_tokens, *tokenizer.added_tokens_encoder}
    # Without its files a tokenizer is made of the special tokens of its class, and the space of a SentencePiece model.
    if len(vocabulary.keys() - own) < 2:
        raise ModelError(f"the tokenizer in {base} has no vocabulary", "The folder must hold tokenizer.json.")
    rows = getattr(model_config.get_text_config(), "vocab_size", None)
    beyond = sorted(token for token, index in vocabulary.items() if rows is not None and index >= rows)
    if beyond:
        raise ModelError(
            f"the tokenizer in {base} knows {len(vocabulary):,} tokens and the model {rows:,} (vocab_size in config.json); "
            f"the model does not know {_few([repr(token) for token in beyond])}",
            "Use a base whose tokenizer belongs to its model.",
        )


def _few(names: Iterable[str]) -> str:
    all_names = list(names)
    return ", ".join(all_names[:SHOWN]) + (", …" if len(all_names) > SHOWN else "")
