"""Models through transformers: a base to train, one that starts from nothing, and a release that answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contender.errors import ModelError, UsageError
from contender.kinds._loaded import check_weights
from contender.training.devices import best_device
from contender.training.loading import quiet_loading


def first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def names_of(labels: Sequence[str]) -> dict[str, Any]:
    """What a configuration says of labels: their names by class, and the other way round."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def load_tokenizer(base: Path, holds: str) -> tuple[Any, Any]:
    """The base's tokenizer and configuration; ModelError, which says what the folder `holds` else, where they cannot be loaded."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"the tokenizer in {base} cannot be loaded: {first_line(error)}", f"The folder must hold {holds}."
        ) from error
    return tokenizer, config


def load_base(
    auto: str, base: Path, task: str, fits: str, labels: Sequence[str] | None = None, **config: Any
) -> tuple[Any, dict[str, Any]]:
    """A base in fp32, and what from_pretrained tells of its loading; `auto`: the class of transformers that loads it.

    With `labels` its head is one for these, drawn anew where the base had one for more or fewer. `config`: what else is to differ
    from the base's configuration. ModelError, with the advice to use what `fits`, where it cannot be loaded or lacks weights.
    """
    import torch
    import transformers

    if labels is not None:
        config |= names_of(labels) | {"ignore_mismatched_sizes": True}
    try:
        with quiet_loading():
            model, loaded = getattr(transformers, auto).from_pretrained(
                str(base),
                **config,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:
        raise ModelError(
            f"the base model in {base} cannot be loaded for {task}: {first_line(error)}", f"Use {fits}."
        ) from error
    check_weights(model, loaded, base)
    return model, loaded


def build(auto: str, config: Any, base: Path, task: str, fits: str) -> Any:
    """A model as `config`, that of `base`, describes it, in fp32, every weight drawn; ModelError where there is none."""
    import torch
    import transformers

    try:
        return getattr(transformers, auto).from_config(config, trust_remote_code=False, dtype=torch.float32)
    except Exception as error:
        raise ModelError(
            f"no model for {task} can be built from config.json in {base}: {first_line(error)}",
            f"Change model.config, or use {fits}.",
        ) from error


def load_release(auto: str, folder: Path, device: str | None = None) -> tuple[Any, Any]:
    """The model in `folder`, to answer with, in fp32, and its device: CUDA, else MPS, else the CPU where none is named."""
    import torch
    import transformers

    try:
        with quiet_loading():
            model = getattr(transformers, auto).from_pretrained(
                str(folder), use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
    except Exception as error:
        raise ModelError(
            f"the model in {folder} cannot be loaded: {first_line(error)}", "Verify the release."
        ) from error
    on = device
    try:
        on = torch.device(device) if device else best_device()
        return model.to(on).eval(), on
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot compute on {on}: {first_line(error)}", "Name cpu, cuda, cuda:1 or mps.") from error
