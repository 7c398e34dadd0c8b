"""A model that starts from nothing: the base's config.json, changed where the spec says so, and weights drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contender.errors import ModelError, known

# What follows from the tokenizer and from the data.
GIVEN = {"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id"}


def changed_config(base: Path, changes: Mapping[str, Any]) -> Any:
    """The base's configuration with `changes` under the names of its architecture, or the common ones, such as hidden_size.

    Raises ModelError where the base has no configuration of a known architecture, for a key that it has not, and for a value of
    another type than its.
    """
    config = config_of(base)
    if not changes:
        return config
    names = dict(type(config).attribute_map)
    allowed = {*own_keys(config), *names} - GIVEN
    for key in changes:
        if key not in allowed:
            raise ModelError(
                f"model.config, for {config.model_type}: {known('key', key, allowed)}", "Name some of these."
            )
    try:
        return type(config).from_dict(
            {**config.to_dict(), **{names.get(key, key): value for key, value in changes.items()}}
        )
    except Exception as error:
        raise ModelError(
            f"model.config: {_first(error)}", "See the architecture's configuration in transformers."
        ) from error


def config_of(base: Path) -> Any:
    """The base's configuration; ModelError where it has none of a known architecture."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"config.json in {base} cannot be read: {_first(error)}",
            "Name a base of an architecture that transformers has.",
        ) from error


def own_keys(config: Any) -> set[str]:
    """Keys of the architecture, without those that every configuration has."""
    from transformers import PreTrainedConfig

    return set(type(config)().to_dict()) - set(PreTrainedConfig().to_dict())


def _first(error: Exception) -> str:
    return ": ".join(line.strip().rstrip(":") for line in str(error).strip().splitlines()[:2])
